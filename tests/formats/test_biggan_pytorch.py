"""Reading BigGAN-PyTorch's files: inference of the spec, name variants, and bad files."""

import collections
import os
import pickle
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import cgt_tf
from cgt_tf.errors import InputError
from cgt_tf.files import sha256
from cgt_tf.formats import biggan_pytorch_rules as tables
from cgt_tf.formats.biggan_pytorch import read_pth
from cgt_tf.formats.biggan_pytorch_file import read_tensors
from cgt_tf.networks.gan import create_discriminator, create_generator
from cgt_tf.networks.spec import GanSpec, biggan_spec
from cgt_tf.runs import handles

torch = pytest.importorskip("torch", reason=".pth files need torch: pip install 'cgt_tf[torch]'")

GOLDENS = Path(__file__).parents[1] / "goldens"
SMALL = GOLDENS / "pth_32"


@pytest.fixture
def small():
    """The tensors of a small discriminator by name."""
    return torch.load(SMALL / "D.pth", weights_only=True)


@pytest.fixture
def small_generator():
    return torch.load(SMALL / "G.pth", weights_only=True)


@pytest.fixture
def file(tmp_path):
    """Writes an object and returns the path."""

    def write(content, **options):
        path = tmp_path / "weights.pth"
        torch.save(content, path, **options)
        return path

    return write


def state_of(network, rules):
    """Tensors that a table makes of a network, whatever its widths."""
    variables = {v.path.partition("/")[2]: keras.ops.convert_to_numpy(v) for v in network.variables}
    return {r.source: torch.tensor(r.layout.write(variables[r.target]).copy()) for r in rules}


def assert_networks_equal(found, expected):
    for a, b in zip(found.variables, expected.variables, strict=True):
        assert a.path == b.path
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (a, b)), err_msg=a.path)


# What the keys and shapes say.


def test_cifar_generator():
    imported = read_pth(SMALL / "G.pth")
    assert imported.spec == biggan_spec(32, 10, 8, output_bn_eps=1e-5)
    assert imported.discriminator is None and imported.class_names is None


def test_imagenet_generator():
    """A discriminator as narrow would be too narrow for attention, so its fields are without."""
    spec = read_pth(GOLDENS / "pth_128" / "G.pth").spec
    assert spec == biggan_spec(128, 12, 4, output_bn_eps=1e-5, d_attention=())


def test_cifar_discriminator():
    imported = read_pth(SMALL / "D.pth")
    assert imported.spec == biggan_spec(32, 10, 4, output_bn_eps=1e-5)
    assert imported.generator is None


def test_imagenet_discriminator():
    spec = read_pth(GOLDENS / "pth_128" / "D.pth").spec
    assert spec == biggan_spec(128, 12, 8, output_bn_eps=1e-5)


ODD = {"d_widths": (3, 5, 7), "d_halvings": 2, "d_attention": ()}
GENERATORS = {
    "widths": dict(resolution=16, num_classes=2, dim_z=7, g_widths=(5, 6, 3), **ODD),
    "shared_alone": dict(
        resolution=16, num_classes=2, dim_z=7, shared_dim=4, g_widths=(5, 6, 3), **ODD
    ),
    "one_block": dict(resolution=8, num_classes=1, dim_z=3, g_widths=(4, 4), **ODD),
    "attention_at_the_end": dict(
        **{"resolution": 16, "num_classes": 3, "dim_z": 9, "shared_dim": 2, "hierarchical": True},
        **{"g_widths": (4, 8, 8), "g_attention": (8, 16)},
        **ODD,
    ),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_of_any_form(name, file):
    spec = GanSpec(**GENERATORS[name])
    generator = create_generator(spec)
    imported = read_pth(file(state_of(generator, tables.generator_rules(spec))))
    for field in GENERATORS[name].keys() - ODD.keys():
        assert getattr(imported.spec, field) == getattr(spec, field), field
    assert_networks_equal(imported.generator, generator)
    # The other network's fields are valid: one can be made.
    create_discriminator(imported.spec)


DISCRIMINATORS = {
    "widths": {"resolution": 16, "d_widths": (5, 6, 3), "d_halvings": 2},
    "width kept": {"resolution": 16, "d_widths": (5, 5, 5), "d_halvings": 2},
    "halving throughout": {"resolution": 32, "d_widths": (5, 6, 3, 3), "d_halvings": 3},
    "attention": {"resolution": 32, "d_widths": (8,) * 4, "d_halvings": 2, "d_attention": (16, 8)},
}


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_discriminators_of_any_form(name, file):
    blocks = {16: 2, 32: 3}[DISCRIMINATORS[name]["resolution"]]
    spec = GanSpec(num_classes=3, dim_z=4, g_widths=(4,) * (blocks + 1), **DISCRIMINATORS[name])
    discriminator = create_discriminator(spec)
    imported = read_pth(file(state_of(discriminator, tables.discriminator_rules(spec))))
    for field, value in {"num_classes": 3, **DISCRIMINATORS[name]}.items():
        assert getattr(imported.spec, field) == value, field
    assert_networks_equal(imported.discriminator, discriminator)
    create_generator(imported.spec)


def test_epsilons():
    """Those of the published settings, or the given ones; the output norm's is always the same."""
    for path, sn_eps in (("pth_32/G", 1e-8), ("pth_32/D", 1e-8), ("pth_128/G", 1e-6)):
        imported = read_pth(GOLDENS / f"{path}.pth")
        assert (imported.spec.bn_eps, imported.spec.sn_eps) == (1e-5, sn_eps)
        assert any(f"{sn_eps:g} is assumed" in note for note in imported.notes)
    imported = read_pth(SMALL / "G.pth", bn_eps=1e-3, sn_eps=1e-2)
    spec, generator = imported.spec, imported.generator
    assert (spec.bn_eps, spec.output_bn_eps, spec.sn_eps) == (1e-3, 1e-5, 1e-2)
    assert (generator.blocks[0].norm1.epsilon, generator.output_norm.epsilon) == (1e-3, 1e-5)
    assert generator.linear.sn_eps == 1e-2
    assert not [note for note in imported.notes if "assumed" in note]


def test_report_and_provenance():
    imported = read_pth(SMALL / "D.pth")
    lines = {line.source: line for line in imported.report}
    assert lines.keys() == read_tensors(SMALL / "D.pth").keys()
    assert lines["linear.weight"].target == "linear/kernel"
    assert "ignored" in lines["linear.sv0"].action
    assert imported.provenance == {
        "file": "D.pth",
        "sha256": sha256(SMALL / "D.pth"),
        "kind": "BigGAN-PyTorch discriminator",
        "torch": torch.__version__,
    }


def test_handles():
    gan = cgt_tf.load_source(f"pth:{SMALL / 'G_ema.pth'}", discriminator=f"pth:{SMALL / 'D.pth'}")
    assert gan.spec == biggan_spec(32, 10, 8, output_bn_eps=1e-5, d_widths=(16,) * 4)
    assert gan.discriminator.spec.d_widths == gan.spec.d_widths
    with pytest.raises(InputError, match="found a discriminator alone"):
        handles.load_source(f"pth:{SMALL / 'D.pth'}")
    with pytest.raises(InputError, match=r"resolution 32 .* got 128"):
        handles.load_source(
            f"pth:{SMALL / 'G.pth'}", discriminator=f"pth:{GOLDENS / 'pth_128' / 'D.pth'}"
        )


# Variants of the same weights.


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_prefix_and_old_format(small, file, options):
    path = file({f"module.{name}": tensor for name, tensor in small.items()}, **options)
    assert_networks_equal(read_pth(path).discriminator, read_pth(SMALL / "D.pth").discriminator)


def test_half_precision_and_parameters(small, file):
    """Weights trained with fp16, or saved as parameters, come as float32."""
    half = {name: tensor.half() for name, tensor in small.items()}
    half["linear.weight"] = torch.nn.Parameter(half["linear.weight"])
    kernel = np.asarray(read_pth(file(half)).discriminator.linear.kernel)
    np.testing.assert_array_equal(kernel, small["linear.weight"].half().float().numpy().T)


def with_statistics(state, style):
    """Renames a generator's statistics to those of another norm implementation."""
    suffixes = dict(zip(tables.STATISTICS["plain"], tables.STATISTICS[style], strict=True))
    renamed = collections.OrderedDict()
    for name, tensor in state.items():
        norm, _, last = name.rpartition(".")
        renamed[f"{norm}.{suffixes.get(last, last)}"] = tensor
        if last == "stored_mean" and style == "cross_replica":
            renamed[f"{norm}.bn.num_batches_tracked"] = torch.tensor(7)
        if last == "stored_mean" and style == "mybn":
            renamed[f"{norm}.bn.accumulation_counter"] = torch.zeros(1)
    return renamed


@pytest.mark.parametrize("style", ["mybn", "cross_replica"])
def test_other_norms(small_generator, file, style):
    path = file(with_statistics(small_generator, style))
    assert_networks_equal(read_pth(path).generator, read_pth(SMALL / "G.pth").generator)


def test_standing_statistics_are_sums(small_generator, file):
    state = with_statistics(small_generator, "mybn")
    for name, tensor in state.items():
        if name.endswith((".stored_mean", ".stored_var")):
            tensor *= 16
        if name.endswith("counter"):
            tensor += 16
    imported = read_pth(file(state))
    assert_networks_equal(imported.generator, read_pth(SMALL / "G.pth").generator)
    assert any("accumulated over 16 batches" in note for note in imported.notes)


# Files that are something else.


class Code:
    """A pickle of this would run a command when it is loaded."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_code_is_not_run(tmp_path, small, file, options):
    mark = tmp_path / "mark"
    path = file({**small, "linear.bias": Code(mark)}, **options)
    with pytest.raises(InputError, match=r"a pickle that calls \S*mkdir, which was not run"):
        read_pth(path)
    path.write_bytes(pickle.dumps(Code(mark), protocol=2))
    with pytest.raises(InputError, match=r"a pickle that calls \S*mkdir, which was not run"):
        read_pth(path)
    assert not mark.exists()
    pickle.loads(path.read_bytes())
    assert mark.exists()


def tensor(*shape):
    return torch.zeros(shape)


CONTENTS = {
    "list": ([tensor(2)], "got one list"),
    "empty": ({}, "got an empty dict"),
    "number": ({"a": 1}, "got int at 'a'"),
    "nested": ({"state_dict": {"a": tensor(2)}}, "got dict at 'state_dict'"),
    "numbered": ({1: tensor(2)}, "got Tensor at 1"),
    "module": (torch.nn.Linear(2, 2), "calls torch.nn.modules.linear.Linear"),
    "sparse": ({"a": torch.eye(2).to_sparse()}, "torch.sparse_coo"),
    "no numbers": ({"a": torch.zeros(2, device="meta")}, "on meta"),
    "complex": ({"a": torch.zeros(2, dtype=torch.complex64)}, "complex64"),
    "optimiser": ({"state": {}, "param_groups": []}, "an optimiser's state"),
    "configuration": ({"itr": 2, "config": {}}, "a run's configuration"),
    "configuration with functions": (
        {"itr": 2, "config": {"G_activation": torch.nn.ReLU()}},
        "calls torch.nn.modules.activation.ReLU",
    ),
    "another network": ({"conv1.weight": tensor(2), "fc.bias": tensor(2)}, "conv1.weight, fc.bias"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_other_contents(name, file):
    content, found = CONTENTS[name]
    with pytest.raises(InputError) as error:
        read_pth(file(content))
    assert found in str(error.value) and "\n" not in str(error.value)


def test_no_such_file(tmp_path):
    with pytest.raises(InputError, match=r"expected a \.pth file: .*No such file"):
        read_pth(tmp_path / "none.pth")
    with pytest.raises(InputError, match=r"expected a \.pth file: "):
        read_pth(tmp_path)
    (tmp_path / "text.pth").write_text("weights")
    with pytest.raises(InputError, match="starts with b'weig'"):
        read_pth(tmp_path / "text.pth")


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.9, 0.999])
def test_cut_short(small, file, share, options):
    path = file(small, **options)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError) as error:
        read_pth(path)
    assert "\n" not in str(error.value)


def test_a_zip_of_something_else(tmp_path):
    path = tmp_path / "arrays.pth"
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(3))
    with pytest.raises(InputError, match=r"expected a whole \.pth file"):
        read_pth(path)


def test_without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"pip install 'cgt_tf\[torch\]'"):
        read_pth(SMALL / "G.pth")


# Networks that are not quite such networks.


def without(*names):
    return lambda state: [state.pop(name) for name in names]


def reshaped(name, shape):
    return lambda state: state.update({name: tensor(*shape)})


DISCRIMINATOR_CHANGES = {
    "missing": (without("linear.bias"), "1 missing: linear.bias"),
    "unexplained": (reshaped("extra.weight", [2]), "1 unexplained: extra.weight"),
    "shape": (reshaped("blocks.1.0.conv1.weight", [16, 16, 5, 5]), "blocks.1.0.conv1.weight"),
    "rank": (reshaped("embed.weight", [10]), "expected 2 axes of embed.weight"),
    "empty": (reshaped("embed.weight", [0, 16]), "expected 2 axes of embed.weight"),
    "gap": (
        without(
            *(f"blocks.2.0.conv{n}.{p}" for n in "12" for p in ("weight", "bias", "u0", "sv0"))
        ),
        "expected blocks.0 onwards",
    ),
    "narrow": (reshaped("blocks.1.0.conv1.weight", [8, 16, 3, 3]), "D_wide=False"),
    "late shortcut": (reshaped("blocks.3.0.conv_sc.weight", [16, 16, 1, 1]), "expected conv_sc"),
    "shortcuts with a gap": (without("blocks.0.0.conv_sc.weight"), "got it in [1] of 4 blocks"),
    "attention on one of two": (
        reshaped("blocks.3.1.theta.weight", [2, 16, 1, 1]),
        "expected attention after all of blocks [1, 2, 3]",
    ),
    "several vectors": (reshaped("linear.u1", [1, 1]), "expected one singular vector a layer"),
    "not finite": (lambda state: state["linear.bias"].fill_(float("nan")), "got NaN or inf"),
}
GENERATOR_CHANGES = {
    "deep": (reshaped("blocks.0.0.conv4.weight", [8, 8, 1, 1]), "got a BigGAN-deep"),
    "no spectral norm": (
        lambda state: [state.pop(name) for name in list(state) if name.endswith(("u0", "sv0"))],
        "without singular vectors",
    ),
    "no statistics": (
        lambda state: [state.pop(name) for name in list(state) if ".stored_" in name],
        "--norm_style",
    ),
    "first layer": (reshaped("linear.weight", [500, 128]), "linear.weight [500, 128]"),
    "chunks": (reshaped("shared.weight", [10, 4]), "expected chunks of z"),
}
CHANGES = {"D": DISCRIMINATOR_CHANGES, "G": GENERATOR_CHANGES}


@pytest.mark.parametrize("kind, name", [(k, name) for k in CHANGES for name in CHANGES[k]])
def test_changed_networks(small, small_generator, file, kind, name):
    state = {"D": small, "G": small_generator}[kind]
    change, found = CHANGES[kind][name]
    change(state)
    with pytest.raises(InputError) as error:
        read_pth(file(state))
    assert found in str(error.value) and "\n" not in str(error.value)


def test_counter_of_standing_statistics_must_be_a_number(small_generator, file):
    state = with_statistics(small_generator, "mybn")
    state["blocks.0.0.bn1.bn.accumulation_counter"] = torch.tensor([float("inf")])
    with pytest.raises(InputError, match=r"expected one number at blocks\.0\.0\.bn1"):
        read_pth(file(state))


def test_reading_does_not_depend_on_the_seed():
    keras.utils.set_random_seed(1)
    first = read_pth(SMALL / "G.pth").generator
    keras.utils.set_random_seed(2)
    assert_networks_equal(read_pth(SMALL / "G.pth").generator, first)
