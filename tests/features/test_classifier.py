"""The small classifier: shapes, training on easy classes, held-out images, and its two files."""

import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from cgt_tf.data.image_set import ImageSet
from cgt_tf.errors import InputError
from cgt_tf.features import classifier, classifier_data
from cgt_tf.features.classifier import Settings
from cgt_tf.features.classifier_facts import ClassifierFacts, add_facts, read_facts
from cgt_tf.features.classifier_nets import build_classifier
from cgt_tf.features.loading import load_feature_net

NAMES = ("dark", "bright", "é")


def easy(counts=(12, 12, 12), names=NAMES, resolution=16, seed=0):
    """Classes that differ in brightness."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    noise = rng.integers(0, 40, (len(labels), resolution, resolution, 3))
    images = (noise + 100 * labels[:, None, None, None]).astype(np.uint8)
    return ImageSet(images, labels, names, "easy")


@pytest.fixture(scope="module")
def trained(graphs):
    return classifier.train_classifier(easy(), Settings(epochs=40, batch_size=128), verbose=0)


@pytest.mark.parametrize(
    ("network", "resolution", "dim", "convolutions", "parameters"),
    [
        ("small", 16, 64, 4, 161_453),
        ("small", 32, 64, 4, 235_181),
        ("small", 128, 64, 6, 245_741),
        ("residual", 32, 128, 8, 1_058_149),
        ("residual", 64, 128, 9, 1_067_493),
    ],
)
def test_shapes_at_any_resolution(network, resolution, dim, convolutions, parameters):
    model = build_classifier(resolution, 5, network)
    assert model.input_shape == (None, resolution, resolution, 3)
    assert model.get_layer("features").output.shape == (None, dim)
    assert model.get_layer("logits").output.shape == (None, 5)
    assert sum(isinstance(x, keras.layers.Conv2D) for x in model.layers) == convolutions
    last = [x for x in model.layers if len(x.output.shape) == 4][-1]
    assert max(last.output.shape[1:3]) <= 4
    assert model.count_params() == parameters


def test_an_unknown_network_is_refused():
    with pytest.raises(InputError, match=r"'small', 'residual'\], got 'wide'"):
        build_classifier(32, 5, "wide")


def test_it_learns_from_fewer_images_than_a_batch(trained):
    report = classifier.report(trained, easy(seed=1))
    assert report.accuracy > 0.9 and report.count == 36
    assert set(report.recall) == set(NAMES)
    assert "held-out accuracy" in report.lines()


def test_the_report_counts_confusions():
    images = keras.Input((16, 16, 3))
    always_bright = keras.layers.Lambda(lambda x: tf.one_hot(tf.ones(tf.shape(x)[0], tf.int32), 3))
    report = classifier.report(keras.Model(images, always_bright(images)), easy((2, 3, 5)))
    assert report.accuracy == pytest.approx(0.3)
    assert report.recall == {"dark": 0.0, "bright": 1.0, "é": 0.0}
    assert report.confusions == [("é", "bright", 5), ("dark", "bright", 2)]
    assert "worst classes: dark 0.000, é 0.000" in report.lines()


def facts_of(accuracy=0.9, names=NAMES):
    return ClassifierFacts(
        class_names=names, accuracy=accuracy, heldout_images=36, epochs=4, data="easy"
    )


def test_the_file_is_a_feature_net_that_knows_its_classes(trained, tmp_path):
    output = tmp_path / "net.keras"
    classifier.save_classifier(trained, facts_of(), output)
    assert [path.name for path in tmp_path.iterdir()] == ["net.keras"]
    net = load_feature_net(str(output))
    assert (net.resolution, net.dim, net.class_names) == (16, 64, NAMES)
    assert net.facts == facts_of()
    floats = easy().images.astype(np.float32) / 127.5 - 1
    expected = keras.Model(trained.input, trained.get_layer("features").output)(floats)
    np.testing.assert_allclose(net(tf.constant(floats)), expected, atol=1e-4)


def test_a_poor_classifier_says_so_and_how_much_longer_to_train():
    ten = tuple("abcdefghij")
    assert facts_of(0.33, ten).warning() is None
    warning = facts_of(0.17, ten).warning()
    assert "17%" in warning and "guessing 10%" in warning
    assert "4 epochs more (cgt-features --epochs=8)" in warning


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "a damaged one"),
        ("[]", "a damaged one"),
        ('{"class_names": ["a"]}', "a damaged one: 'accuracy'"),
        (
            '{"class_names": [], "accuracy": 1, "heldout_images": 1, "epochs": 1, "data": ""}',
            "got 0 classes",
        ),
        (
            '{"class_names": ["a"], "accuracy": NaN, "heldout_images": 1, "epochs": 1, "data": ""}',
            "accuracy nan",
        ),
        (" " * (1 << 21), "at most 1048576 bytes"),
    ],
)
def test_damaged_facts_are_refused(text, message, tmp_path):
    with zipfile.ZipFile(tmp_path / "net.keras", "w") as archive:
        archive.writestr("classifier.json", text)
    with pytest.raises(InputError, match=message):
        read_facts(tmp_path / "net.keras")


def test_facts_do_not_depend_on_the_time(tmp_path):
    for name in ("a", "b"):
        add_facts(tmp_path / name, facts_of())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_failed_write_leaves_no_file(trained, tmp_path, monkeypatch):
    def full(path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trained, "save", full)
    with pytest.raises(InputError, match="No space left on device"):
        classifier.save_classifier(trained, facts_of(), tmp_path / "net.keras")
    assert list(tmp_path.iterdir()) == []


def test_equal_seeds_give_equal_batches():
    images = easy()

    def first(seed, flip=False):
        batches = classifier.training_batches(images, 8, Settings(seed=seed, flip=flip))
        return next(batches.as_numpy_iterator())

    np.testing.assert_array_equal(first(0)[0], first(0)[0])
    assert (first(0)[0] != first(1)[0]).any()
    assert (first(0)[0] != first(0, flip=True)[0]).any()
    assert first(0)[0].dtype == np.float32 and np.abs(first(0)[0]).max() <= 1


def test_a_fifth_of_every_class_is_held_out():
    images = easy((2, 10, 24))
    train, heldout = classifier_data.hold_out(images, seed=0)
    assert list(heldout.counts.values()) == [1, 2, 4]
    assert list(train.counts.values()) == [1, 8, 20]
    together = np.concatenate([train.images, heldout.images])
    assert len(np.unique(together.reshape(36, -1), axis=0)) == 36
    with pytest.raises(InputError, match="at least 2 images of class 'bright' in easy"):
        classifier_data.hold_out(easy((5, 1, 5)), seed=0)


def test_sets_are_joined_with_labels_that_count_on():
    joined = classifier_data.join([easy(), easy((2, 3), ("x", "y"))])
    assert joined.class_names == (*NAMES, "x", "y")
    assert list(joined.counts.values()) == [12, 12, 12, 2, 3]
    with pytest.raises(InputError, match="different classes in the data specs, got 'dark' twice"):
        classifier_data.join([easy(), easy()])


def test_one_class_is_an_input_error():
    with pytest.raises(InputError, match="at least 2 classes in easy, got 1"):
        classifier.train_classifier(easy((9,), ("a",)), Settings())
