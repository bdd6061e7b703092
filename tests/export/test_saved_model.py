"""The exported generator: equal to its sources, run by TensorFlow alone, never half-written."""

import copy
import io
import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from cgt_tf.config import Config
from cgt_tf.errors import InputError
from cgt_tf.export import saved_model
from cgt_tf.export.saved_model import BrokenExportError, export_saved_model, load_saved_model
from cgt_tf.export.serving import latents_from_seeds
from cgt_tf.methods.base import DataSpec
from cgt_tf.methods.cgan_transfer import CGANTransfer
from cgt_tf.models.gan import create_gan
from cgt_tf.models.spec import GanSpec, biggan_spec

OLD, NEW = ["Ä", "b", "c"], ["Γάμμα", "Ж"]
SPECS = {
    "projected": GanSpec(
        resolution=32,
        num_classes=len(OLD),
        dim_z=16,
        g_widths=(8, 8, 4, 4),
        d_widths=(4, 4, 8, 8),
        d_halvings=3,
        hierarchical=True,
        shared_dim=8,
    ),
    "table": biggan_spec(32, len(OLD), channels=4),
}


def transfer(spec):
    """A source, the transferred GAN and both folded, with statistics and gains that all differ."""
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(0)
    source = create_gan(spec, OLD)
    for variable in source.generator.variables:
        perturb_norm(variable, rng)
    method = CGANTransfer(Config())
    gan = method.build(source, DataSpec(tuple(NEW), spec.resolution))
    for variable in gan.generator.variables:
        # Gain and bias of the output norm are not trained, and so stay equal in both.
        if not variable.path.endswith(("/output_norm/gain", "/output_norm/bias")):
            perturb_norm(variable, rng)
    return source, gan, method.extended(gan)


def perturb_norm(variable, rng):
    if "norm" in variable.path and not variable.path.endswith("/u"):
        value = keras.ops.convert_to_numpy(variable)
        variable.assign(value + np.abs(rng.normal(scale=0.3, size=value.shape)))


@pytest.fixture(scope="module")
def projected():
    return transfer(SPECS["projected"])


@pytest.fixture(scope="module")
def base(projected, tmp_path_factory):
    directory = tmp_path_factory.mktemp("served") / "glyphs"
    assert export_saved_model(projected[2], directory) == directory / "1"
    return directory


@pytest.fixture(scope="module")
def served(base):
    return load_saved_model(base)


@pytest.fixture
def fast_export(base, monkeypatch):
    """Exports copy the files of `base` instead of tracing anew."""

    def copy(extended, directory):
        shutil.copytree(base / "1", directory, dirs_exist_ok=True)

    monkeypatch.setattr(saved_model, "_write", copy)


def latents(count, dim_z):
    return np.random.default_rng(5).normal(size=(count, dim_z)).astype(np.float32)


@pytest.mark.parametrize("name", SPECS)
def test_the_folded_generator_equals_the_source_and_the_transferred_one(name, request):
    fixture = name == "projected"
    source, gan, extended = request.getfixturevalue(name) if fixture else transfer(SPECS[name])
    assert extended.class_names == OLD + NEW
    for network, classes, first in ((source, len(OLD), 0), (gan, len(NEW), len(OLD))):
        z, labels = latents(6, gan.spec.dim_z), np.arange(6) % classes
        wanted = network.generator(z, labels)[0]
        np.testing.assert_allclose(extended(z, labels + first), wanted, atol=1e-5)
        assert np.ptp(np.asarray(wanted), axis=0).max() > 0.1  # The classes are told apart.


def test_signatures_have_the_served_names_types_and_shapes(served):
    label, seed = ("label", [None], "int64"), ("seed", [None], "int64")
    truncation = ("truncation", [], "float32")
    z, weights = ("z", [None, 16], "float32"), ("class_weights", [None, 5], "float32")
    image = ("image", [None, 32, 32, 3], "float32")
    expected = {
        "serving_default": ([label, seed, truncation], ("image", [None, 32, 32, 3], "uint8")),
        "from_latent": ([label, z], image),
        "mix": ([weights, z], image),
        "png": ([label, seed, truncation], ("image_bytes", [None], "string")),
        "labels": ([], ("name", [5], "string")),
    }
    assert set(served.signatures) == set(expected)
    for name, (inputs, output) in expected.items():
        function = served.signatures[name]
        given = function.structured_input_signature[1]
        assert {k: described(v) for k, v in given.items()} == {n: (s, d) for n, s, d in inputs}
        outputs = {k: described(v) for k, v in function.structured_outputs.items()}
        assert outputs == {output[0]: output[1:]}


def described(spec):
    return spec.shape.as_list(), spec.dtype.name


def test_served_images_are_the_generators(served, projected):
    source, gan, _ = projected
    z = latents(4, 16)
    old = served.signatures["from_latent"](label=tf.constant([0, 1, 2, 0], tf.int64), z=z)["image"]
    np.testing.assert_allclose(old, source.generator(z, np.array([0, 1, 2, 0]))[0], atol=1e-5)
    new = served.signatures["from_latent"](label=tf.constant([3, 4, 3, 4], tf.int64), z=z)["image"]
    np.testing.assert_allclose(new, gan.generator(z, np.array([0, 1, 0, 1]))[0], atol=1e-5)


def test_mixtures_run_across_old_and_new_classes(served, projected):
    weights = np.array([[0.5, 0, 0, 0.5, 0], [0, 1, 0, 0, 0]], np.float32)
    z = latents(2, 16)
    images = served.signatures["mix"](class_weights=weights, z=z)["image"]
    np.testing.assert_allclose(images, projected[2](z, weights), atol=1e-5)
    np.testing.assert_allclose(
        images[1:], projected[0].generator(z[1:], np.array([1]))[0], atol=1e-5
    )


@pytest.mark.parametrize("truncation", [1.0, 0.5])
def test_seeds_stand_for_latents_whatever_the_batch(served, projected, truncation):
    labels, seeds = np.array([4, 0, 2, 4, 1]), np.array([7, -1, 2**40, 7, 0])
    images = served.sample(labels, seeds, truncation)
    assert images.shape == (5, 32, 32, 3) and images.dtype == np.uint8
    z = latents_from_seeds(seeds, 16, truncation)
    wanted = np.rint((np.asarray(projected[2](z, labels)) + 1) * 127.5)
    close(images, wanted)
    alone = [served.sample(labels[i : i + 1], seeds[i : i + 1], truncation)[0] for i in range(5)]
    close(images, np.stack(alone))
    np.testing.assert_array_equal(served.sample(labels, seeds, truncation), images)
    assert (images[0] != images[1]).any()


def close(images, wanted):
    """Equal but for values that float rounding moves across the limit between two grey levels."""
    difference = np.abs(images.astype(np.int32) - wanted.astype(np.int32))
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3


def test_latents_do_not_depend_on_their_neighbours():
    seeds = np.arange(-20, 20)
    for truncation in (1.0, 0.6):
        z = latents_from_seeds(seeds, 24, truncation).numpy()
        np.testing.assert_array_equal(latents_from_seeds(seeds[7:9], 24, truncation), z[7:9])
        assert len(np.unique(z)) > 0.99 * z.size


def test_truncation_cuts_and_scales_latents():
    seeds = np.arange(3000)
    full = latents_from_seeds(seeds, 16).numpy()
    assert abs(full.mean()) < 0.02 and full.std() == pytest.approx(1, abs=0.01)
    assert np.abs(full).max() > 3.5
    cut = latents_from_seeds(seeds, 16, 0.5).numpy()
    assert 0.99 < np.abs(cut).max() <= 1
    # The standard deviation of a normal cut to [-2, 2] is 0.8796.
    assert cut.std() == pytest.approx(0.5 * 0.8796, abs=0.01)


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_png_holds_the_same_images(served, rows):
    numbers = tf.range(rows, dtype=tf.int64)
    arguments = {"label": numbers % 5, "seed": numbers, "truncation": tf.constant(1.0)}
    images = served.signatures["serving_default"](**arguments)["image"].numpy()
    encoded = served.signatures["png"](**arguments)["image_bytes"].numpy()
    decoded = np.stack([np.asarray(Image.open(io.BytesIO(data))) for data in encoded])
    close(decoded, images)


SEEDED = {"label": [0, 4], "seed": [1, 2], "truncation": 1.0}
LATENT = {"label": [0, 4], "z": np.zeros((2, 16))}
MIXED = {"class_weights": np.full((2, 5), 0.2), "z": np.zeros((2, 16))}


@pytest.mark.parametrize(
    ("signature", "arguments", "message"),
    [
        ("serving_default", SEEDED | {"label": [0, 5]}, r"label: expected integers in \[0, 4\]"),
        ("png", SEEDED | {"label": [-1, 0]}, r"label: expected integers in \[0, 4\]"),
        ("from_latent", LATENT | {"label": [0, 5]}, r"label: expected integers in \[0, 4\]"),
        ("serving_default", SEEDED | {"truncation": 0.0}, r"truncation: .* \(0, 1\], got\] \[0\]"),
        ("serving_default", SEEDED | {"truncation": 1.5}, r"truncation: expected .* \(0, 1\]"),
        ("png", SEEDED | {"truncation": float("nan")}, r"truncation: expected .* \(0, 1\]"),
        ("serving_default", SEEDED | {"seed": [1]}, "as many rows of label as of seed"),
        ("serving_default", SEEDED | {"label": [], "seed": []}, "at least 1"),
        ("from_latent", LATENT | {"z": np.zeros((1, 16))}, "as many rows of label as of z"),
        ("from_latent", LATENT | {"z": np.zeros((2, 15))}, "z: expected rows of 16 numbers"),
        ("from_latent", LATENT | {"z": np.full((2, 16), np.nan)}, "make finite images"),
        ("mix", MIXED | {"class_weights": np.ones((2, 3))}, "class_weights: .* rows of 5 numbers"),
        ("mix", MIXED | {"class_weights": np.ones((1, 5))}, "as many rows of class_weights"),
    ],
)
def test_signatures_refuse_bad_input(served, signature, arguments, message):
    dtypes = {"label": tf.int64, "seed": tf.int64}
    tensors = {k: tf.constant(v, dtypes.get(k, tf.float32)) for k, v in arguments.items()}
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        served.signatures[signature](**tensors)


# Runs in a Python where this package and Keras cannot be imported.
ALONE = """
import json, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("cgt_tf", "keras", "tf_keras"):
            raise ImportError("blocked: " + name)

sys.meta_path.insert(0, Blocker())
import numpy as np
import tensorflow as tf

loaded = tf.saved_model.load(sys.argv[1])
call = loaded.signatures
label, seed = tf.constant([0, 3, 4], tf.int64), tf.constant([5, 6, 7], tf.int64)
weights = tf.one_hot(label, 5)
z = tf.constant(np.load(sys.argv[2]))
seeded = dict(label=label, seed=seed, truncation=tf.constant(0.8))
np.savez(
    sys.argv[3],
    sampled=call["serving_default"](**seeded)["image"],
    decoded=[tf.io.decode_png(data) for data in call["png"](**seeded)["image_bytes"]],
    latent=call["from_latent"](label=label, z=z)["image"],
    mixed=call["mix"](class_weights=weights, z=z)["image"],
)
print(json.dumps([name.decode() for name in call["labels"]()["name"].numpy()]))
"""


def test_every_signature_runs_with_tensorflow_alone(base, served, projected, tmp_path):
    z = latents(3, 16)
    np.save(tmp_path / "z.npy", z)
    result = tmp_path / "result.npz"
    command = [sys.executable, "-I", "-c", ALONE, base / "1", tmp_path / "z.npy", result]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == OLD + NEW
    labels, seeds = np.array([0, 3, 4]), np.array([5, 6, 7])
    with np.load(result) as arrays:
        close(arrays["sampled"], served.sample(labels, seeds, 0.8))
        close(arrays["decoded"], arrays["sampled"])
        np.testing.assert_allclose(arrays["latent"], projected[2](z, labels), atol=1e-5)
        np.testing.assert_allclose(arrays["mixed"], arrays["latent"], atol=1e-5)


def test_the_export_holds_the_class_names_as_an_asset(base, served):
    text = (base / "1" / "assets" / "class_names.txt").read_text(encoding="utf-8")
    assert text == "Ä\nb\nc\nΓάμμα\nЖ\n"
    assert served.class_names == OLD + NEW
    assert (served.resolution, served.dim_z, served.num_classes) == (32, 16, 5)


def test_versions_count_up_and_are_never_replaced(fast_export, projected, tmp_path):
    extended, base = projected[2], tmp_path / "new" / "base"
    assert export_saved_model(extended, base) == base / "1"
    assert export_saved_model(extended, base, version=9) == base / "9"
    assert export_saved_model(extended, base) == base / "10"
    before = snapshot(base)
    with pytest.raises(InputError, match="does not have yet, got 9"):
        export_saved_model(extended, base, version=9)
    with pytest.raises(InputError, match="at least 1, got 0"):
        export_saved_model(extended, base, version=0)
    with pytest.raises(InputError, match="got a SavedModel"):
        export_saved_model(extended, base / "9")
    assert snapshot(base) == before
    assert load_saved_model(base).path == base / "10"
    assert load_saved_model(base / "9").path == base / "9"


def snapshot(directory):
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*")}


def test_an_export_that_differs_is_not_kept(fast_export, projected, tmp_path):
    extended = projected[2]
    bias = extended.generator.output_conv.bias
    bias.assign_add([1e-3] * 3)
    try:
        with pytest.raises(BrokenExportError, match=r"differ by 0\.00\d+ \(allowed: 0\.0001\)"):
            export_saved_model(extended, tmp_path / "base")
    finally:
        bias.assign_sub([1e-3] * 3)
    with pytest.raises(BrokenExportError, match="class names"):
        export_saved_model(renamed(extended, "Z"), tmp_path / "base")
    assert list(tmp_path.iterdir()) == []


def renamed(extended, name):
    other = copy.copy(extended)
    other.class_names = [*OLD, NEW[0], name]
    return other


def test_a_failed_write_leaves_nothing(projected, tmp_path, monkeypatch):
    def fail(extended, directory):
        (directory / "saved_model.pb").write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(saved_model, "_write", fail)
    with pytest.raises(OSError, match="disk full"):
        export_saved_model(projected[2], tmp_path / "base")
    assert list(tmp_path.iterdir()) == []


def test_places_and_names_that_cannot_be_written_are_refused(projected, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        export_saved_model(projected[2], tmp_path / "file")
    with pytest.raises(InputError, match="one line each"):
        export_saved_model(renamed(projected[2], "two\nlines"), tmp_path / "base")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_sample_refuses_bad_input(served):
    for arguments, message in (
        (([5], [0]), r"labels in \[0, 4\], got 5"),
        (([0, 1], [0]), "one length"),
        (([0.5], [0]), "labels as integers"),
        (([0], [0], 0.0), r"truncation in \(0, 1\], got 0"),
    ):
        with pytest.raises(InputError, match=message):
            served.sample(*arguments)
    assert served.sample([], []).shape == (0, 32, 32, 3)


def test_loading_refuses_what_is_no_export(base, tmp_path):
    with pytest.raises(InputError, match="expected a SavedModel or a directory of its versions"):
        load_saved_model(tmp_path / "missing")
    shutil.copytree(base, tmp_path / "base")
    (tmp_path / "base" / "2").mkdir()  # Without a SavedModel: not a version.
    assert load_saved_model(tmp_path / "base").path.name == "1"
    (tmp_path / "base" / "1" / "variables" / "variables.index").unlink()
    with pytest.raises(InputError, match="expected a complete SavedModel"):
        load_saved_model(tmp_path / "base")
    (tmp_path / "base" / "1" / "saved_model.pb").write_bytes(b"no model")
    with pytest.raises(InputError, match="expected a complete SavedModel"):
        load_saved_model(tmp_path / "base")
    module = tf.Module()
    module.f = tf.function(lambda x: {"y": x}, input_signature=[tf.TensorSpec([])])
    tf.saved_model.save(module, str(tmp_path / "other"))
    with pytest.raises(InputError, match="without the signatures serving_default"):
        load_saved_model(tmp_path / "other")
