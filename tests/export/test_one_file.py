"""Exports as one file of another runtime."""

import importlib.util
import json

import numpy as np
import pytest
import tensorflow as tf
from export_networks import latents

from cgt_tf.errors import InputError
from cgt_tf.export import one_file
from cgt_tf.export.card import read_weights
from cgt_tf.export.one_file import check_form, export_one_file
from cgt_tf.export.saved_model import BrokenExportError

HAS_ONNX = all(importlib.util.find_spec(name) for name in one_file.FORMS["onnx"].needs)
FORMS = [
    "tflite",
    pytest.param(
        "onnx",
        marks=pytest.mark.skipif(not HAS_ONNX, reason="needs pip install 'cgt_tf[onnx]'"),
    ),
]


@pytest.mark.parametrize("form", FORMS)
def test_a_file_gives_the_images_of_the_saved_model(form, projected, served, tmp_path):
    """Of old and new classes, which have statistics and latent projections of their own."""
    extended = projected[2]
    assert export_one_file(extended, tmp_path / "model", form, {}) == tmp_path / "model"
    files = {path.name for path in (tmp_path / "model").iterdir()}
    assert files == {f"model.{form}", "class_names.txt", "model_card.json"}
    names = (tmp_path / "model" / "class_names.txt").read_text(encoding="utf-8")
    assert names.splitlines() == list(extended.class_names)
    images = one_file.FORMS[form].load((tmp_path / "model" / f"model.{form}").read_bytes())
    for count in (5, 1):
        labels, z = np.arange(count), latents(count, extended.spec.dim_z)
        wanted = served.signatures["from_latent"](label=tf.constant(labels), z=tf.constant(z))
        np.testing.assert_allclose(images(z, labels), wanted["image"], atol=1e-4)
    # Other classes are other images.
    assert np.abs(images(z, [0]) - images(z, [4])).max() > 0.01
    values = json.loads((tmp_path / "model" / "model_card.json").read_text(encoding="utf-8"))
    assert values["weights"]["stored"] == "float32"
    assert 0 <= values["weights"]["largest_difference"] < 0.05
    assert values["milliseconds_per_image"]["batch_8"] > 0


def small_function(width):
    """A signature with an operation that neither runtime has."""
    specs = [
        tf.TensorSpec([None], tf.int64, "label"),
        tf.TensorSpec([None, width], tf.float32, "z"),
    ]

    @tf.function(autograph=False)
    def from_latent(label, z):
        return {"image": tf.math.igamma(z, z + tf.cast(label[:, None], tf.float32))}

    return from_latent.get_concrete_function(*specs)


@pytest.mark.parametrize("form", FORMS)
def test_an_operation_that_a_form_lacks_is_named(form, projected, tmp_path, monkeypatch):
    monkeypatch.setattr(
        one_file, "make_signatures", lambda extended, _: {"from_latent": small_function(16)}
    )
    message = (
        f"expected a generator of operations that {form} has, got Igamma; --format=saved_model"
    )
    with pytest.raises(InputError, match=message):
        export_one_file(projected[2], tmp_path / "model", form, {})
    assert list(tmp_path.iterdir()) == []


def shifted(form, shift):
    """A form whose images are another's, all moved by a number."""

    def load(data):
        images = form.load(data)
        return lambda z, labels: images(z, labels) + np.float32(shift)

    return one_file.Form(form.file, form.needs, form.convert, load)


def test_how_far_images_move_is_in_the_card_and_has_a_limit(projected, tmp_path, monkeypatch):
    tflite = one_file.FORMS["tflite"]
    monkeypatch.setitem(one_file.FORMS, "tflite", shifted(tflite, 5e-4))
    path = export_one_file(projected[2], tmp_path / "near", "tflite", {})
    assert read_weights(path).largest_difference == pytest.approx(5e-4 * 127.5, rel=0.05)
    monkeypatch.setitem(one_file.FORMS, "tflite", shifted(tflite, 2e-3))
    with pytest.raises(BrokenExportError, match=r"model.tflite .* differ by 0\.25\d* of 255 grey"):
        export_one_file(projected[2], tmp_path / "far", "tflite", {})
    assert [place.name for place in tmp_path.iterdir()] == ["near"]


def test_missing_packages_and_full_directories_are_refused(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tf2onnx" else find(name)
    )
    with pytest.raises(InputError, match=r"pip install 'cgt_tf\[onnx\]'; missing: .*tf2onnx"):
        check_form("onnx", tmp_path)
    check_form("tflite", tmp_path)
    (tmp_path / "kept").write_text("x")
    with pytest.raises(InputError, match="expected a new directory for the model, got "):
        check_form("tflite", tmp_path)
