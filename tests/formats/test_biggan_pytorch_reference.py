"""The equations in plain torch functions, which `--verify` compares with."""

from pathlib import Path

import numpy as np
import pytest
from keras import ops

from cgt_tf.errors import InputError
from cgt_tf.formats.biggan_pytorch import read_pth, write_pth
from cgt_tf.formats.biggan_pytorch_file import read_tensors
from cgt_tf.formats.torch_reference import (
    discriminator_outputs,
    generator_outputs,
    verify_pth,
)
from cgt_tf.networks.gan import create_gan
from cgt_tf.networks.spec import biggan_spec

torch = pytest.importorskip("torch", reason=".pth files need torch: pip install 'cgt_tf[torch]'")

GOLDENS = Path(__file__).parents[1] / "goldens"
SN_EPS = {"pth_32": 1e-8, "pth_128": 1e-6}


def nhwc(images):
    return images.transpose(0, 2, 3, 1)


@pytest.mark.parametrize("name", SN_EPS)
def test_golden_images(name):
    with np.load(GOLDENS / f"{name}.npz") as golden:
        z, y, expected = golden["z"], golden["y"], nhwc(golden["image_nchw"])
    state = read_tensors(GOLDENS / name / "G.pth")
    outputs = generator_outputs(state, z, y, bn_eps=1e-5, sn_eps=SN_EPS[name])
    np.testing.assert_allclose(outputs["images"], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", SN_EPS)
def test_golden_logits(name):
    with np.load(GOLDENS / f"{name}.npz") as golden:
        x, y, expected = nhwc(golden["x_nchw"]), golden["dy"], golden["D_logits"][:, 0]
    state = read_tensors(GOLDENS / name / "D.pth")
    outputs = discriminator_outputs(state, x, y, sn_eps=SN_EPS[name])
    np.testing.assert_allclose(outputs["logits"], expected, rtol=1e-4)


@pytest.mark.parametrize("file", ["G", "D"])
@pytest.mark.parametrize("name", SN_EPS)
def test_imported_networks_agree(name, file):
    path = GOLDENS / name / f"{file}.pth"
    imported = read_pth(path)
    differences = verify_pth(path, imported)
    network = imported.generator or imported.discriminator
    blocks = [f"block_{i}" for i in range(len(network.blocks))]
    around = {"G": (["linear"], ["output_norm", "images"]), "D": ([], ["features", "logits"])}
    before, after = around[file]
    assert [n for n, _ in differences] == [*before, *blocks, *after]
    assert all(0 <= difference < 1e-4 for _, difference in differences)


def test_a_last_block_that_changes_the_width(tmp_path):
    """At 64x64 the discriminator's last block has a convolution in its shortcut without halving."""
    spec = biggan_spec(64, 3, 4)
    gan = create_gan(spec, ["a", "b", "c"])
    _, path = write_pth(gan, tmp_path / "out")
    assert "blocks.4.0.conv_sc.weight" in read_tensors(path)
    imported = read_pth(path)
    assert imported.spec.d_halvings == spec.d_halvings == 4
    assert all(difference < 1e-4 for _, difference in verify_pth(path, imported))


@pytest.mark.parametrize(
    "file, variable, first",
    [
        ("G", "linear/bias", "linear"),
        ("G", "block_3/norm2/shift/u", "block_3"),
        ("G", "attention_3/gain", "block_3"),
        ("G", "output_norm/moving_mean", "output_norm"),
        ("D", "block_4/shortcut/kernel", "block_4"),
        ("D", "class_projection/u", "logits"),
    ],
)
def test_a_wrong_weight_shows_where_it_is(file, variable, first):
    path = GOLDENS / "pth_128" / f"{file}.pth"
    imported = read_pth(path)
    network = imported.generator or imported.discriminator
    (found,) = (v for v in network.variables if v.path.endswith(f"/{variable}"))
    values = ops.convert_to_numpy(found)
    found.assign(values + 0.5 + np.arange(values.size).reshape(values.shape) % 3)
    wrong = [name for name, difference in verify_pth(path, imported) if difference > 1e-3]
    assert wrong[0] == first


def test_standing_statistics_and_other_norms(tmp_path):
    """Sums next to a counter, by names that the rule tables do not take part in reading."""
    state = torch.load(GOLDENS / "pth_32" / "G.pth", weights_only=True)
    renamed = {}
    for name, tensor in state.items():
        norm, _, last = name.rpartition(".")
        if last.startswith("stored_"):
            renamed[f"{norm}.bn.{last}"] = tensor * 4
            renamed[f"{norm}.bn.accumulation_counter"] = torch.tensor([4.0])
        else:
            renamed[name] = tensor
    torch.save(renamed, tmp_path / "G.pth")
    differences = verify_pth(tmp_path / "G.pth", read_pth(GOLDENS / "pth_32" / "G.pth"))
    assert all(difference < 1e-4 for _, difference in differences)


def test_given_inputs_and_mismatched_files():
    path = GOLDENS / "pth_32" / "G.pth"
    imported = read_pth(path)
    z = np.full((1, 128), 0.1, np.float32)
    assert verify_pth(path, imported, z, [7])[-1][1] < 1e-4
    with pytest.raises(InputError, match="expected a generator at"):
        verify_pth(GOLDENS / "pth_32" / "D.pth", imported)
