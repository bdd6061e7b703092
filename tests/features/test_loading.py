"""Feature networks: handles, resizing, batching and what is refused."""

import subprocess
import sys
import types
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from cgt_tf.errors import InputError
from cgt_tf.features.extraction import Extractor
from cgt_tf.features.feature_net import FeatureNet
from cgt_tf.features.loading import load_feature_net

pytestmark = pytest.mark.usefixtures("graphs")


def make_classifier(resolution=8, names=("features", "logits")):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((resolution, resolution, 3))
    hidden = keras.layers.Conv2D(4, 3, strides=2, activation="relu")(inputs)
    hidden = keras.layers.GlobalAveragePooling2D()(hidden)
    hidden = keras.layers.Dense(6, activation="relu", name=names[0])(hidden)
    return keras.Model(inputs, keras.layers.Dense(3, name=names[1])(hidden))


def extract(net, images, batch_size=100):
    return Extractor(net, batch_size)(images).features


@pytest.fixture(scope="module")
def classifier():
    return make_classifier()


@pytest.fixture
def classifier_file(classifier, tmp_path):
    path = tmp_path / "net.keras"
    classifier.save(path)
    return path


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3), np.uint8)


def expected_features(model, images):
    net = keras.Model(model.input, model.layers[-2].output)
    return net(images.astype(np.float32) / 127.5 - 1).numpy()


def test_keras_file_gives_the_features_layer(classifier, classifier_file, images):
    net = load_feature_net(str(classifier_file))
    assert (net.name, net.resolution, net.dim, net.class_names) == ("net.keras", 8, 6, ())
    assert len(net.fingerprint) == 64
    result = extract(net, images, batch_size=3)
    assert result.dtype == np.float32 and result.shape == (7, 6)
    np.testing.assert_allclose(result, expected_features(classifier, images), atol=1e-5)
    direct = net(tf.constant(images.astype(np.float32) / 127.5 - 1))
    np.testing.assert_allclose(direct, result, atol=1e-5)


def test_without_a_features_layer_the_input_of_the_last_layer_counts(tmp_path, images):
    model = make_classifier(names=("hidden", "output"))
    model.save(tmp_path / "net.keras")
    net = load_feature_net(str(tmp_path / "net.keras"))
    np.testing.assert_allclose(extract(net, images), expected_features(model, images), atol=1e-5)
    assert Extractor(net)(images).logits.shape == (7, 0)


def test_logits_come_from_the_logits_layer(classifier, classifier_file, images):
    net = load_feature_net(str(classifier_file))
    outputs = Extractor(net, batch_size=4)(images)
    logits = classifier(images.astype(np.float32) / 127.5 - 1).numpy()
    np.testing.assert_allclose(outputs.logits, logits, atol=1e-5)
    np.testing.assert_array_equal(outputs.features, extract(net, images, batch_size=4))


def test_class_names_come_from_the_argument_or_the_file_beside(classifier_file):
    classifier_file.with_name("net_classes.txt").write_text("a\nb\nç\n", encoding="utf-8")
    assert load_feature_net(str(classifier_file)).class_names == ("a", "b", "ç")
    given = load_feature_net(str(classifier_file), class_names=("x", "y", "z"))
    assert given.class_names == ("x", "y", "z")
    with pytest.raises(InputError, match="got 2 names for 3 logits"):
        load_feature_net(str(classifier_file), class_names=("x", "y"))


def test_fingerprint_follows_the_file(tmp_path):
    first, second = tmp_path / "a.keras", tmp_path / "b.keras"
    make_classifier().save(first)
    second.write_bytes(first.read_bytes())
    fingerprint = load_feature_net(str(first)).fingerprint
    assert load_feature_net(str(second)).fingerprint == fingerprint
    make_classifier(resolution=16).save(second)
    assert load_feature_net(str(second)).fingerprint != fingerprint


def identity_net(resolution):
    def function(images):
        return tf.reshape(images, [tf.shape(images)[0], -1]), None

    return FeatureNet("identity", resolution, 3 * resolution**2, "0" * 64, function)


def test_shrinking_is_antialiased():
    # Alternating black and white pixels: without antialiasing the result would be black or white.
    stripes = np.zeros((1, 12, 12, 3), np.uint8)
    stripes[:, :, ::2] = 255
    shrunk = extract(identity_net(4), stripes)
    np.testing.assert_allclose(shrunk, 0.0, atol=0.2)


def test_enlarging_is_bilinear_with_half_pixel_centres():
    image = np.zeros((1, 2, 2, 3), np.uint8)
    image[:, :, 1] = 255
    row = extract(identity_net(4), image).reshape(4, 4, 3)[0, :, 0]
    np.testing.assert_allclose(row, [-1.0, -0.5, 0.5, 1.0], atol=1e-6)


def test_same_size_is_left_alone():
    image = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)
    np.testing.assert_allclose(extract(identity_net(4), image)[0], image.ravel() / 127.5 - 1)


def test_batches_of_any_sizes_give_the_same_features_from_one_trace(images):
    traces = []

    def function(batch):
        traces.append(batch.shape)
        return tf.reduce_mean(batch, axis=(1, 2)), None

    extractor = Extractor(FeatureNet("mean", 8, 3, "0" * 64, function), batch_size=3)
    whole = extractor(images).features
    pieces = extractor(iter([images[:1], images[1:6], images[6:]])).features
    np.testing.assert_array_equal(whole, pieces)
    assert traces == [(3, 8, 8, 3)]


def test_images_are_read_as_they_are_needed(images):
    read = []

    def batches():
        for start in range(0, 6, 2):
            read.append(start)
            yield images[start : start + 2]

    def function(batch):
        tf.py_function(lambda: read.append("computed"), [], [])
        return tf.reduce_mean(batch, axis=(1, 2)), None

    Extractor(FeatureNet("mean", 8, 3, "0" * 64, function), batch_size=2)(batches())
    assert read == [0, "computed", 2, "computed", 4, "computed"]


REPLICAS = """
import sys
import numpy as np, tensorflow as tf
cpus = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpus[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from cgt_tf.features.extraction import Extractor
from cgt_tf.features.loading import load_feature_net
from cgt_tf.scoring.generate import under_strategy
images = np.random.default_rng(0).integers(0, 256, (11, 8, 8, 3), np.uint8)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
net = load_feature_net(sys.argv[1], strategy=strategy)
rows = []
function = net.function
def counted(batch):
    rows.append(batch.shape[0])
    return function(batch)
object.__setattr__(net, "function", counted)
shared = Extractor(net, 5, strategy)(images)
assert rows == [3, 3], rows
alone = Extractor(load_feature_net(sys.argv[1]), 6)(images)
np.testing.assert_allclose(shared.features, alone.features, atol=1e-6)
np.testing.assert_allclose(shared.logits, alone.logits, atol=1e-6)
scale = lambda z, labels: z * tf.cast(labels, tf.float32)[:, None]
sample, size = under_strategy(strategy, scale, 3)
z, labels = tf.reshape(tf.range(8.0), [4, 2]), tf.range(4)
assert size == 4
np.testing.assert_array_equal(sample(z, labels), scale(z, labels))
print("same")
"""


def test_replicas_take_shares_and_give_the_numbers_of_one_device(classifier_file):
    command = [sys.executable, "-c", REPLICAS, str(classifier_file)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "same", result.stderr


class AnyNet(tf.Module):
    """Features: twice the corner pixel; logits: the image's mean three times."""

    def __init__(self, resolution, output):
        self.scale = tf.Variable(2.0)
        self.resolution = resolution
        spec = tf.TensorSpec([None, resolution, resolution, 3])
        self.call = tf.function(lambda images: self.outputs(images, output), input_signature=[spec])

    def outputs(self, images, output):
        features = images[:, 0, 0] * self.scale
        logits = tf.reduce_mean(images, axis=(1, 2))
        return {
            "tensor": features,
            "single": {"anything": features},
            "pooled": features[:, None, None],
            "both": {"features": features, "logits": logits},
            "two": {"a": features, "b": logits},
            "whole": images,
            "integers": tf.cast(features, tf.int32),
        }[output]


def save_any(path, output, resolution=8, signature=True):
    module = AnyNet(resolution, output)
    outputs = module.call
    if signature:
        dictionary = tf.function(
            lambda images: (
                result
                if isinstance(result := module.outputs(images, output), dict)
                else {"output_0": result}
            ),
            input_signature=outputs.input_signature,
        )
        tf.saved_model.save(module, str(path), signatures=dictionary)
    else:
        callable_module = tf.Module()
        callable_module.scale = module.scale
        callable_module.__call__ = outputs
        tf.saved_model.save(callable_module, str(path))
    return path


@pytest.mark.parametrize("signature", [True, False])
@pytest.mark.parametrize("output", ["tensor", "single", "pooled", "both"])
@pytest.mark.parametrize("prefix", ["savedmodel:", ""])
def test_any_saved_model(tmp_path, images, output, signature, prefix):
    path = save_any(tmp_path / "net", output, signature=signature)
    net = load_feature_net(f"{prefix}{path}")
    assert (net.name, net.resolution, net.dim, net.class_names) == ("net", 8, 3, ())
    outputs = Extractor(net, batch_size=4)(images)
    floats = images.astype(np.float32) / 127.5 - 1
    np.testing.assert_allclose(outputs.features, 2 * floats[:, 0, 0], atol=1e-5)
    if output == "both":
        np.testing.assert_allclose(outputs.logits, floats.mean(axis=(1, 2)), atol=1e-5)
    else:
        assert outputs.logits.shape == (7, 0)


def test_an_exported_keras_model_is_a_feature_net(classifier, tmp_path, images):
    model = keras.Model(classifier.input, classifier.get_layer("features").output)
    model.export(tmp_path / "exported", verbose=False)
    net = load_feature_net(str(tmp_path / "exported"))
    expected = expected_features(classifier, images)
    np.testing.assert_allclose(extract(net, images), expected, atol=1e-5)


def test_class_names_of_a_saved_model_are_a_file_in_it(tmp_path):
    path = save_any(tmp_path / "net", "both")
    (path / "class_names.txt").write_text("a\nb\nc\n", encoding="utf-8")
    before = load_feature_net(str(path))
    assert before.class_names == ("a", "b", "c")
    (path / "class_names.txt").write_text("a\nb\n", encoding="utf-8")
    with pytest.raises(InputError, match="got 2 names for 3 logits"):
        load_feature_net(str(path))


@pytest.mark.parametrize(
    ("output", "resolution", "message"),
    [
        ("two", 8, r"output 'features' or a single one, got \['a', 'b'\]"),
        ("whole", 8, r"features as floats \[B, d\], got float32 \[1, 8, 8, 3\]"),
        ("integers", 8, r"features as floats \[B, d\], got int32"),
        ("tensor", None, r"one input \[B, R, R, 3\] of fixed R, got inputs"),
    ],
)
def test_unsuitable_saved_models_are_input_errors(tmp_path, output, resolution, message):
    path = save_any(tmp_path / "net", output, resolution)
    with pytest.raises(InputError, match=message) as raised:
        load_feature_net(str(path))
    assert "\n" not in str(raised.value)


class InceptionLike(tf.Module):
    def __init__(self, output):
        self.output = output
        self.scale = tf.Variable(2.0)

    @tf.function(input_signature=[tf.TensorSpec([None, 299, 299, 3])])
    def __call__(self, images):
        pooled = images[:, 149:150, 149:150] * self.scale
        return {"logits": tf.zeros([tf.shape(images)[0], 5]), self.output: pooled}


def test_inception_from_a_local_folder(tmp_path, images):
    tf.saved_model.save(InceptionLike("pool_3"), str(tmp_path / "module"))
    net = load_feature_net(f"inception:{tmp_path / 'module'}")
    assert (net.name, net.resolution, net.dim, net.class_names) == ("inception", 299, 3, ())
    flat = np.broadcast_to(images[:, :1, :1], images.shape)
    expected = 2 * (flat[:, 0, 0].astype(np.float32) / 127.5 - 1)
    outputs = Extractor(net, batch_size=4)(flat)
    np.testing.assert_allclose(outputs.features, expected, atol=1e-5)
    assert outputs.logits.shape == (7, 5)


def test_inception_module_without_pool_3_is_refused(tmp_path):
    tf.saved_model.save(InceptionLike("pool_2"), str(tmp_path / "module"))
    with pytest.raises(InputError, match=r"'pool_3', got \['logits', 'pool_2'\]"):
        load_feature_net(f"inception:{tmp_path / 'module'}")


def test_inception_without_a_network_says_what_to_do(monkeypatch):
    def resolve(handle):
        raise OSError("Name or service not known")

    hub = types.SimpleNamespace(resolve=resolve)
    monkeypatch.setitem(sys.modules, "tensorflow_hub", hub)
    with pytest.raises(InputError, match=r"service not known.*inception:<folder>") as raised:
        load_feature_net("inception")
    assert "\n" not in str(raised.value)


def broken_file(path, content):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in content.items():
            archive.writestr(name, text)


@pytest.mark.parametrize(
    ("handle", "message"),
    [
        ("nothing.keras", "a path without a file"),
        ("text.keras", "got another kind"),
        ("zip.keras", "saved by keras.Model.save"),
        ("json.keras", "saved by keras.Model.save"),
        ("model.h5", "expected a feature net"),
        ("", "expected a feature net"),
        ("bundled:other", "'bundled:', got 'other'"),
        ("inception:nowhere", "with saved_model.pb, got nowhere"),
        ("inception:.", "complete SavedModel in ."),
        ("savedmodel:nowhere", "with saved_model.pb, got nowhere"),
        ("empty", "with saved_model.pb, got empty"),
    ],
)
def test_wrong_handles_are_input_errors(handle, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.keras").write_text("not a model")
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xffno protocol buffer")
    (tmp_path / "empty").mkdir()
    broken_file(tmp_path / "zip.keras", {"readme": "no model"})
    broken_file(tmp_path / "json.keras", {"config.json": "{", "metadata.json": "{}"})
    with pytest.raises(InputError, match=message) as raised:
        load_feature_net(handle)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("shape", "layers", "message"),
    [
        ((8, 8, 1), [keras.layers.Flatten, lambda: keras.layers.Dense(2)], r"\[None, 8, 8, 1\]"),
        ((8, 6, 3), [keras.layers.Flatten, lambda: keras.layers.Dense(2)], r"\[None, 8, 6, 3\]"),
        ((None, None, 3), [keras.layers.GlobalMaxPooling2D], r"\[None, None, None, 3\]"),
        ((8, 8, 3), [lambda: keras.layers.Conv2D(2, 3), keras.layers.Flatten], r"features \[B, d"),
    ],
)
def test_unsuitable_models_are_input_errors(shape, layers, message, tmp_path):
    model = keras.Sequential([keras.Input(shape)] + [layer() for layer in layers])
    model.save(tmp_path / "net.keras")
    with pytest.raises(InputError, match=message):
        load_feature_net(str(tmp_path / "net.keras"))


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((2, 8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((2, 8, 8, 1), np.uint8),
        np.zeros((0, 8, 8, 3), np.uint8),
        [],
    ],
)
def test_wrong_images_are_input_errors(bad):
    with pytest.raises(InputError, match=r"expected images uint8 \[n, H, W, 3\]"):
        extract(identity_net(8), bad)


def test_wrong_batch_size_is_an_input_error(images):
    with pytest.raises(InputError, match="batch size of at least 1, got 0"):
        extract(identity_net(8), images, batch_size=0)


def test_bundled_glyph_classifier():
    net = load_feature_net("bundled:glyph_classifier")
    assert (net.name, net.resolution) == ("bundled:glyph_classifier", 32)
    assert len(set(net.class_names)) == len(net.class_names) > 1
    blank = extract(net, np.zeros((1, 32, 32, 3), np.uint8), batch_size=1)
    assert blank.shape == (1, net.dim) and np.isfinite(blank).all()
