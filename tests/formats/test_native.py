"""Our own model directories: bit-identical round trips, and one-line errors for damaged ones."""

import functools
import json
import shutil

import numpy as np
import pytest

from cgt_tf.errors import InputError
from cgt_tf.formats.native import read_model, save_model
from cgt_tf.networks.gan import Gan, create_gan
from cgt_tf.networks.spec import biggan_spec
from cgt_tf.runs.handles import to_gan

NAMES = ["first class", "Ö", "Ж"]
FILES = ["class_names.txt", "discriminator.npz", "generator.npz", "provenance.json", "spec.json"]


@functools.cache
def tiny_gan():
    widths = {"g_widths": (8, 8, 8, 4), "d_widths": (4, 8, 8), "d_halvings": 2}
    conditioning = {"hierarchical": True, "dim_z": 16, "shared_dim": 6, "g_attention": (16,)}
    gan = create_gan(biggan_spec(32, 3, **widths, **conditioning), NAMES)
    for network in (gan.generator, gan.discriminator):
        for i, variable in enumerate(network.variables):
            value = np.random.default_rng(i).normal(size=variable.shape)
            variable.assign(value**2 if variable.name == "moving_variance" else value)
    return gan


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A saved model that no test changes."""
    directory = tmp_path_factory.mktemp("saved") / "model"
    return save_model(tiny_gan(), directory, {"source": "a test"})


@pytest.fixture
def directory(saved, tmp_path):
    """A copy to damage."""
    return shutil.copytree(saved, tmp_path / "model")


def files(path):
    return sorted(p.name for p in path.iterdir())


def rewrite(path, change):
    with np.load(path) as file:
        arrays = dict(file)
    change(arrays)
    np.savez_compressed(path, **arrays)


def assert_input_error(directory, *parts):
    with pytest.raises(InputError) as error:
        read_model(directory)
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


# Round trip.


def test_round_trip_is_bit_identical(saved):
    gan, again = tiny_gan(), to_gan(read_model(saved))
    assert (again.spec, again.class_names) == (gan.spec, NAMES)
    for network in ("generator", "discriminator"):
        old, new = getattr(gan, network).variables, getattr(again, network).variables
        assert [v.path for v in new] == [v.path for v in old]
        for a, b in zip(old, new, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=a.path)
    z = np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)
    labels = np.array([0, 2, 1])
    images = gan.generator(z, labels)[0]
    np.testing.assert_array_equal(again.generator(z, labels)[0], images)
    logits = again.discriminator(images, labels)[0]
    np.testing.assert_array_equal(logits, gan.discriminator(images, labels)[0])


def test_directory_holds_the_documented_files_only(saved):
    assert files(saved) == FILES
    assert files(saved.parent) == ["model"]
    assert json.loads((saved / "provenance.json").read_text()) == {"source": "a test"}
    assert (saved / "class_names.txt").read_text(encoding="utf-8").split("\n") == [*NAMES, ""]
    with np.load(saved / "generator.npz") as file:
        assert "block_0/conv1/kernel" in file.files
        assert len(file.files) == len(tiny_gan().generator.variables)


def test_a_model_may_have_no_discriminator(tmp_path):
    gan = tiny_gan()
    save_model(Gan(gan.spec, gan.generator, None, NAMES), tmp_path / "model", {})
    assert files(tmp_path / "model") == [f for f in FILES if f != "discriminator.npz"]
    assert to_gan(read_model(tmp_path / "model")).discriminator is None


def test_epsilons_can_be_changed_at_load(saved):
    gan = to_gan(read_model(saved, bn_eps=1e-3, sn_eps=1e-2))
    assert (gan.spec.bn_eps, gan.spec.sn_eps) == (1e-3, 1e-2)
    assert gan.generator.output_norm.epsilon == 1e-3
    assert {norm.epsilon for norm in gan.generator.conditional_norms()} == {1e-3}
    assert gan.generator.linear.sn_eps == gan.discriminator.linear.sn_eps == 1e-2
    np.testing.assert_array_equal(gan.generator.linear.kernel, tiny_gan().generator.linear.kernel)


# Saving.


def test_an_empty_directory_may_exist(tmp_path):
    (tmp_path / "model").mkdir()
    save_model(tiny_gan(), tmp_path / "model", {})
    assert files(tmp_path / "model") == FILES


def test_missing_parents_are_made(tmp_path):
    assert save_model(tiny_gan(), tmp_path / "a" / "b", {}).is_dir()


def test_a_directory_in_use_is_left_alone(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"expected a new directory for the model, got .*model$"):
        save_model(tiny_gan(), tmp_path / "model", {})
    assert files(tmp_path) == ["model"]
    assert files(tmp_path / "model") == ["notes.txt"]


def test_a_file_in_the_way_is_left_alone(tmp_path):
    (tmp_path / "model").write_text("mine")
    with pytest.raises(InputError, match="expected a new directory"):
        save_model(tiny_gan(), tmp_path / "model", {})
    assert (tmp_path / "model").read_text() == "mine"


def test_nothing_is_left_of_a_save_that_fails(tmp_path, monkeypatch):
    def full_disk(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_model(tiny_gan(), tmp_path / "model", {})
    assert files(tmp_path) == []


# Loading what is not right.


def test_missing_directory(tmp_path):
    assert_input_error(tmp_path / "nothing", "expected a model directory with spec.json")


@pytest.mark.parametrize("name", ["spec.json", "class_names.txt", "generator.npz"])
def test_missing_file(directory, name):
    (directory / name).unlink()
    assert_input_error(directory, name)


@pytest.mark.parametrize("name", ["spec.json", "class_names.txt"])
def test_binary_instead_of_text(directory, name):
    (directory / name).write_bytes(b"\xff\xfe\x00")
    assert_input_error(directory, name)


def test_damaged_spec(directory):
    (directory / "spec.json").write_text('{"resolution": 32')
    assert_input_error(directory, "expected the JSON of a GanSpec")


@pytest.mark.parametrize("network", ["generator", "discriminator"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"not an archive",
        lambda data: data[: len(data) // 2],
        lambda data: data[:2000] + bytes(400) + data[2400:],
        lambda data: data[:2000] + b"\xff" * 400 + data[2400:],
    ],
    ids=["empty", "text", "truncated", "zeros inside", "ones inside"],
)
def test_damaged_weights(directory, network, damage):
    path = directory / f"{network}.npz"
    path.write_bytes(damage(path.read_bytes()))
    assert_input_error(directory, "expected weights in", path.name)


def test_a_plain_array_instead_of_an_archive(directory):
    with (directory / "generator.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    assert_input_error(directory, "expected weights in", "generator.npz")


def test_pickled_weights_are_not_loaded(directory):
    def pickle(arrays):
        arrays["linear/bias"] = np.array([{"a": 1}], dtype=object)

    rewrite(directory / "generator.npz", pickle)
    assert_input_error(directory, "expected weights in", "generator.npz")


def test_wrong_shape(directory):
    rewrite(directory / "generator.npz", lambda a: a.update({"linear/bias": np.zeros(3)}))
    assert_input_error(directory, "shapes do not fit", "linear/bias [3] for linear/bias [128]")


def test_missing_and_unknown_names(directory):
    def rename(arrays):
        arrays["linear/offset"] = arrays.pop("linear/bias")

    rewrite(directory / "discriminator.npz", rename)
    assert_input_error(directory, "1 missing: linear/bias", "1 unexplained: linear/offset")


def test_unknown_name_next_to_all_known_ones(directory):
    rewrite(directory / "generator.npz", lambda a: a.update({"linear/scale": np.zeros(3)}))
    assert_input_error(directory, "1 unexplained: linear/scale")


def test_wrong_number_of_class_names(directory):
    (directory / "class_names.txt").write_text("a\nb\n")
    assert_input_error(directory, "expected 3 class names", "got 2")


def test_float16_halves_matrices_and_keeps_statistics(tmp_path):
    """Eleven bits of mantissa: a relative error of at most 2^-11."""
    gan = tiny_gan()
    path = save_model(gan, tmp_path / "half", {}, precision="float16")
    with np.load(path / "generator.npz") as file:
        for array in dict(file).values():
            assert array.dtype == ("float16" if array.ndim > 1 else "float32")
    read = to_gan(read_model(path))
    for network in ("generator", "discriminator"):
        pairs = zip(getattr(gan, network).variables, getattr(read, network).variables, strict=True)
        for ours, theirs in pairs:
            assert str(theirs.dtype) == "float32"
            tolerance = 2.0**-11 if len(ours.shape) > 1 else 0.0
            np.testing.assert_allclose(theirs, ours, rtol=tolerance, atol=1e-7 * bool(tolerance))


def test_a_weight_beyond_float16_is_refused(tmp_path):
    gan = create_gan(biggan_spec(32, 3, g_widths=(8, 8, 8, 4), d_widths=(4, 8, 8)), NAMES)
    kernel = gan.generator.linear.kernel
    kernel.assign(np.full(kernel.shape, 7e4))
    with pytest.raises(InputError, match="expected finite values of half, generator linear/kernel"):
        save_model(gan, tmp_path / "half", {}, precision="float16")
    assert not list(tmp_path.iterdir())
