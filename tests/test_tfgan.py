"""tensorflow-gan's losses and metrics load where `import tensorflow_gan` does not."""

import sys
import types

import numpy as np
import pytest

from cgt_tf import tfgan
from cgt_tf.errors import InputError

METRICS = "tensorflow_gan.python.eval.classifier_metrics"


@pytest.fixture
def forget_tensorflow_gan(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorflow_gan"]:
        monkeypatch.delitem(sys.modules, name)
    yield
    # What the test imported goes before monkeypatch puts the former modules back.
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorflow_gan"]:
        del sys.modules[name]


def test_losses_compute():
    logits_real, logits_fake = np.float32([2.0, 4.0]), np.float32([1.0, 0.0])
    losses = tfgan.losses()
    assert losses.wasserstein_discriminator_loss(logits_real, logits_fake).numpy() == -2.5
    assert losses.wasserstein_generator_loss(logits_fake).numpy() == -0.5


def test_classifier_metrics_computes():
    activations = np.float64([[0, 0], [1, 0], [0, 1], [1, 1]])
    distance = tfgan.classifier_metrics().frechet_classifier_distance_from_activations(
        activations, activations + np.float64([3.0, 4.0])
    )
    assert distance.numpy() == pytest.approx(25.0, abs=1e-6)


def test_registers_packages_once_without_running_them(forget_tensorflow_gan):
    losses = tfgan.losses()
    package = sys.modules["tensorflow_gan"]
    assert not hasattr(package, "GANModel")
    assert package.python is sys.modules["tensorflow_gan.python"]
    assert tfgan.losses() is losses
    assert sys.modules["tensorflow_gan"] is package


def test_uses_an_imported_tensorflow_gan_as_it_is(forget_tensorflow_gan, monkeypatch):
    fake_losses = types.ModuleType("tensorflow_gan.python.losses.losses_impl")
    for name in ("tensorflow_gan", "tensorflow_gan.python", "tensorflow_gan.python.losses"):
        package = types.ModuleType(name)
        package.__path__ = []
        monkeypatch.setitem(sys.modules, name, package)
    monkeypatch.setitem(sys.modules, fake_losses.__name__, fake_losses)
    assert tfgan.losses() is fake_losses


def test_missing_tensorflow_gan_is_an_input_error(forget_tensorflow_gan, monkeypatch):
    monkeypatch.setattr(tfgan.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs the packages.*No module named 'tensorflow_gan'"):
        tfgan.losses()


def test_missing_probability_is_an_input_error(monkeypatch):
    tfgan.losses()
    monkeypatch.delitem(sys.modules, METRICS, raising=False)
    monkeypatch.setitem(sys.modules, "tensorflow_probability", None)
    with pytest.raises(InputError, match=r"needs the packages.*tensorflow-probability") as raised:
        tfgan.classifier_metrics()
    assert "\n" not in str(raised.value)
