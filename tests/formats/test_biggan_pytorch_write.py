"""Writing BigGAN-PyTorch's files, and round trips through them."""

import dataclasses
import functools
from pathlib import Path

import numpy as np
import pytest
from keras import ops

from cgt_tf.errors import InputError
from cgt_tf.formats import biggan_pytorch
from cgt_tf.formats.biggan_pytorch import export_notes, read_pth, write_pth
from cgt_tf.formats.native import read_model, save_model
from cgt_tf.layers.spectral import SpectralLayer
from cgt_tf.networks.gan import Gan, create_gan
from cgt_tf.networks.spec import GanSpec, biggan_spec
from cgt_tf.runs.handles import load_source, to_gan

torch = pytest.importorskip("torch", reason=".pth files need torch: pip install 'cgt_tf[torch]'")

GOLDENS = Path(__file__).parents[1] / "goldens"
NAMES = ("pth_32", "pth_128")


@functools.cache
def source(name):
    folder = GOLDENS / name
    return load_source(f"pth:{folder / 'G.pth'}", discriminator=f"pth:{folder / 'D.pth'}")


@functools.cache
def fresh(resolution, channels, **changes):
    spec = biggan_spec(resolution, 3, channels, output_bn_eps=1e-5, **changes)
    return create_gan(spec, ["a", "b", "c"])


def load(path):
    return torch.load(path, weights_only=True)


def files_of(directory):
    """The native directory's arrays, byte by byte."""
    return {
        (path.name, key): array.tobytes()
        for path in sorted(directory.glob("*.npz"))
        for key, array in np.load(path).items()
    }


def assert_variables_equal(found, expected):
    for a, b in zip(found.variables, expected.variables, strict=True):
        assert a.path == b.path
        np.testing.assert_array_equal(*map(ops.convert_to_numpy, (a, b)), err_msg=a.path)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_file_comes_back(name, tmp_path):
    """Names in order, shapes, types and weights; `sv0` is that of a step from the stored vector."""
    for path in write_pth(source(name), tmp_path / "out"):
        original, written = load(GOLDENS / name / path.name), load(path)
        assert type(written) is type(original) and list(written) == list(original)
        for key, tensor in original.items():
            assert written[key].shape == tensor.shape, key
            assert written[key].dtype == tensor.dtype, key
            assert written[key].is_contiguous(), key
            assert key.endswith("sv0") or torch.equal(written[key], tensor), key


@pytest.mark.parametrize("name", NAMES)
def test_singular_values(name, tmp_path):
    gan = source(name)
    write_pth(gan, tmp_path / "out")
    for network, letter in ((gan.generator, "G"), (gan.discriminator, "D")):
        state = load(tmp_path / "out" / f"{letter}.pth")
        layers = [x for x in network._flatten_layers() if isinstance(x, SpectralLayer)]
        expected = [
            np.linalg.norm(x.kernel) / np.linalg.norm(x.normalized_kernel(False))
            for x in layers
            if x.spectral_norm
        ]
        found = [float(value) for key, value in state.items() if key.endswith("sv0")]
        np.testing.assert_allclose(sorted(found), sorted(expected), rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_round_trip_is_bit_identical(name, tmp_path):
    """.pth -> native -> .pth -> native."""
    save_model(source(name), tmp_path / "first", {})
    write_pth(to_gan(read_model(tmp_path / "first")), tmp_path / "pth")
    again = load_source(f"pth:{tmp_path}/pth/G.pth", discriminator=f"pth:{tmp_path}/pth/D.pth")
    save_model(again, tmp_path / "second", {})
    first, second = files_of(tmp_path / "first"), files_of(tmp_path / "second")
    assert len(first) > 80 and first == second
    texts = [(tmp_path / d / "spec.json").read_text() for d in ("first", "second")]
    assert texts[0] == texts[1]


PUBLISHED = {
    "32": (32, 1, {}),
    "32 with an embedding": (32, 1, {"shared_dim": 5, "sn_eps": 1e-6}),
    "32 with chunks": (32, 1, {"shared_dim": 5, "hierarchical": True, "sn_eps": 1e-6}),
    "32 with attention": (32, 2, {"g_attention": (16,), "d_attention": (16, 8)}),
    "64": (64, 4, {"d_attention": ()}),
    "256": (256, 2, {"d_attention": (32,)}),
    "512": (512, 1, {"g_attention": (), "d_attention": ()}),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_form(name, tmp_path):
    resolution, channels, changes = PUBLISHED[name]
    gan = fresh(resolution, channels, **changes)
    generator, discriminator = map(read_pth, write_pth(gan, tmp_path / "out"))
    for imported, letter in ((generator, "g"), (discriminator, "d")):
        fields = [f for f in vars(gan.spec) if f.startswith(letter) and f != "d_classes"]
        for field in ["resolution", "num_classes", *fields]:
            if field != "dim_z" or letter == "g":
                assert getattr(imported.spec, field) == getattr(gan.spec, field), field
    for field in ("dim_z", "hierarchical", "shared_dim"):
        assert getattr(generator.spec, field) == getattr(gan.spec, field), field
    assert_variables_equal(generator.generator, gan.generator)
    assert_variables_equal(discriminator.discriminator, gan.discriminator)


def test_generator_alone(tmp_path):
    gan = dataclasses.replace(source("pth_32"), discriminator=None)
    assert write_pth(gan, tmp_path / "out") == [tmp_path / "out" / "G.pth"]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["G.pth"]


def test_full_truncation_is_written(tmp_path):
    """A source with statistics for each truncation leaves those of the last, and says so."""
    grid = {"truncation_grid": (0.5, 1.0), "g_attention": (), "d_attention": ()}
    gan = fresh(32, 1, **grid)
    norms = [gan.generator.blocks[1].norm2, gan.generator.output_norm]
    for i, norm in enumerate(norms):
        norm.moving_mean.assign(norm.moving_mean + np.array([[1.0], [2.0 + i]]))
        norm.moving_variance.assign(norm.moving_variance * np.array([[3.0], [4.0 + i]]))
    path, _ = write_pth(gan, tmp_path / "out")
    written = read_pth(path).generator
    for before, after in zip(norms, [written.blocks[1].norm2, written.output_norm], strict=True):
        np.testing.assert_array_equal(after.moving_mean, before.moving_mean[1])
        np.testing.assert_array_equal(after.moving_variance, before.moving_variance[1])
    assert any("those of truncation 1 were written" in note for note in export_notes(gan.spec))
    assert "truncation" not in " ".join(export_notes(source("pth_32").spec))


def test_notes_name_the_epsilons():
    spec = source("pth_32").spec
    assert "--BN_eps 1e-05 --SN_eps 1e-08" in export_notes(spec)[0]
    assert "output norm" not in " ".join(export_notes(spec))
    other = dataclasses.replace(spec, bn_eps=1e-4, output_bn_eps=None)
    assert any("this one's has 0.0001" in note for note in export_notes(other))


DEEP = {"architecture": "biggan_deep", "hierarchical": False, "g_attention": ()}
NARROW = {"num_classes": 2, "dim_z": 2, "d_widths": (4, 4, 4), "d_halvings": 2}
REFUSED = {
    "deep": (biggan_spec(64, 2, 4, **DEEP), "got a BigGAN-deep"),
    "folded": (biggan_spec(32, 2, 4, domain_classes=(1, 1)), "folded domains"),
    "chunks without an embedding": (
        biggan_spec(64, 2, 4, shared_dim=0),
        "expected a shared embedding",
    ),
    "resolution": (
        GanSpec(resolution=16, g_widths=(4,) * 3, **NARROW),
        "got 16 from 4",
    ),
    "bottom width": (
        GanSpec(resolution=32, g_widths=(4,) * 3, bottom_width=8, **NARROW),
        "got 32 from 8",
    ),
    "generator's widths": (biggan_spec(32, 2, 4, g_widths=(8, 8, 8, 4)), "expected g_widths"),
    "discriminator's widths": (biggan_spec(32, 2, 4, d_widths=(4, 8, 8, 8)), "expected d_widths"),
    "depth": (biggan_spec(32, 2, 4, d_widths=(4, 4)), "expected d_widths"),
    "halvings": (biggan_spec(32, 2, 4, d_halvings=3), "expected d_halvings 2"),
    "attention": (biggan_spec(32, 2, 4, d_attention=(16,)), "expected d_attention on all or none"),
    "other classes": (biggan_spec(32, 2, 4, d_classes=5), "expected a discriminator of 2 classes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, tmp_path):
    """Nothing is written of networks that BigGAN-PyTorch does not have."""
    spec, message = REFUSED[name]
    gan = Gan(spec, None, object(), ["x"] * spec.num_classes)
    with pytest.raises(InputError) as error:
        write_pth(gan, tmp_path / "out")
    assert message in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_discriminator_that_is_not_there_is_not_judged(tmp_path):
    gan = source("pth_32")
    spec = dataclasses.replace(gan.spec, d_widths=(1, 2), d_halvings=1)
    write_pth(Gan(spec, gan.generator, None, gan.class_names), tmp_path / "out")


def test_a_network_with_other_variables_is_refused(tmp_path):
    gan = source("pth_32")
    gan = dataclasses.replace(gan, discriminator=fresh(32, 1).generator)
    with pytest.raises(InputError, match="one with other variables"):
        write_pth(gan, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_directory_in_use(tmp_path):
    (tmp_path / "note").write_text("mine")
    with pytest.raises(InputError, match="expected a new directory"):
        write_pth(source("pth_32"), tmp_path)
    with pytest.raises(InputError, match="expected a new directory"):
        write_pth(source("pth_32"), tmp_path / "note")
    assert [p.name for p in tmp_path.iterdir()] == ["note"]
    (tmp_path / "empty").mkdir()
    assert len(write_pth(source("pth_32"), tmp_path / "empty")) == 2


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    calls = []

    def save(state, path):
        calls.append(path)
        path.write_bytes(b"half")
        if len(calls) == 2:
            raise OSError("no space left")

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(OSError, match="no space"):
        biggan_pytorch.write_pth(source("pth_32"), tmp_path / "out")
    assert len(calls) == 2 and not list(tmp_path.iterdir())
