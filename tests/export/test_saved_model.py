"""The exported generator: equal to its sources, run by TensorFlow alone, never half-written."""

import copy
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from export_networks import NEW, OLD, SPECS, close, latents, transfer

from cgt_tf.errors import InputError
from cgt_tf.export import saved_model
from cgt_tf.export.saved_model import BrokenExportError, export_saved_model
from cgt_tf.export.served import load_saved_model


@pytest.fixture
def fast_export(base, monkeypatch):
    """Exports copy the files of `base` instead of tracing anew."""

    def copy_base(extended, weights, directory):
        extra = shutil.ignore_patterns("assets.extra", "model_card.json")
        shutil.copytree(base / "1", directory, dirs_exist_ok=True, ignore=extra)

    monkeypatch.setattr(saved_model, "_write", copy_base)


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


def test_served_images_are_the_generators(served, projected):
    source, gan, _ = projected
    z = latents(4, 16)
    old = served.signatures["from_latent"](label=tf.constant([0, 1, 2, 0], tf.int64), z=z)["image"]
    np.testing.assert_allclose(old, source.generator(z, np.array([0, 1, 2, 0]))[0], atol=1e-5)
    new = served.signatures["from_latent"](label=tf.constant([3, 4, 3, 4], tf.int64), z=z)["image"]
    np.testing.assert_allclose(new, gan.generator(z, np.array([0, 1, 0, 1]))[0], atol=1e-5)


# Runs where this package cannot be imported, nor any part of Keras that TensorFlow has not loaded.
ALONE = """
import json, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("cgt_tf", "keras", "tf_keras"):
            raise ImportError("blocked: " + name)

import numpy as np
import tensorflow as tf

sys.meta_path.insert(0, Blocker())
assert "cgt_tf" not in sys.modules
loaded = tf.saved_model.load(sys.argv[1])
call = loaded.signatures
label, seed = tf.constant([0, 3, 4], tf.int64), tf.constant([5, 6, 7], tf.int64)
weights = tf.one_hot(label, 5)
z = tf.constant(np.load(sys.argv[2]))
seeded = dict(label=label, seed=seed, truncation=tf.constant([0.8, 0.5, 1.0]))
np.savez(
    sys.argv[3],
    default=call["serving_default"](label=label, seed=seed)["image"],
    sampled=call["truncated"](**seeded)["image"],
    decoded=[tf.io.decode_png(data) for data in call["png"](**seeded)["image_bytes"]],
    latent=call["from_latent"](label=label, z=z)["image"],
    mixed=call["mix"](class_weights=weights, z=z)["image"],
)
names = call["labels"](label=tf.range(5, dtype=tf.int64))["name"].numpy()
print(json.dumps([name.decode() for name in names]))
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
        close(arrays["default"], served.sample(labels, seeds))
        for row, truncation in enumerate((0.8, 0.5, 1.0)):
            close(arrays["sampled"][row], served.sample(labels, seeds, truncation)[row])
        close(arrays["decoded"], arrays["sampled"])
        np.testing.assert_allclose(arrays["latent"], projected[2](z, labels), atol=1e-5)
        np.testing.assert_allclose(arrays["mixed"], arrays["latent"], atol=1e-5)


def test_the_export_has_no_keras_objects(base):
    assert b"_tf_keras" not in (base / "1" / "saved_model.pb").read_bytes()


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
    def fail(extended, weights, directory):
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
    with pytest.raises(InputError, match="without the signatures truncated, from_latent, mix"):
        load_saved_model(tmp_path / "other")
