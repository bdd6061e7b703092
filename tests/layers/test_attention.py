"""Self-attention: parity with BigGAN-PyTorch, and what its definition promises."""

import functools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from cgt_tf.errors import InputError
from cgt_tf.layers.attention import SelfAttention
from cgt_tf.layers.spectral import SpectralConv2D

GOLDENS = np.load(Path(__file__).parents[1] / "goldens" / "layers.npz")
CONVOLUTIONS = ("theta", "phi", "g", "o")


def golden(name):
    return GOLDENS[f"attention/{name}"]


def nhwc(x):
    return np.transpose(x, (0, 2, 3, 1))


def hwio(kernel):
    return np.transpose(kernel, (2, 3, 1, 0))


@pytest.fixture
def attention():
    layer = SelfAttention(24)
    layer.build((None, 6, 8, 24))
    for name in CONVOLUTIONS:
        getattr(layer, name).kernel.assign(hwio(golden(f"state/{name}.weight")))
        getattr(layer, name).u.assign(golden(f"state/{name}.u0"))
    layer.gain.assign(golden("state/gamma"))
    return layer


def test_evaluation_equals_biggan_pytorch(attention):
    x = nhwc(golden("x_nchw"))
    np.testing.assert_allclose(attention(x), nhwc(golden("eval_output_nchw")), atol=1e-5)
    np.testing.assert_array_equal(attention.theta.u, golden("state/theta.u0"))


def test_training_and_gradients_equal_biggan_pytorch(attention):
    x, upstream = nhwc(golden("x_nchw")), nhwc(golden("upstream_nchw"))
    with tf.GradientTape() as tape:
        y = attention(x, training=True)
        loss = tf.reduce_sum(y * upstream)
    np.testing.assert_allclose(y, nhwc(golden("train_output_nchw")), atol=1e-5)
    kernels = [getattr(attention, name).kernel.value for name in CONVOLUTIONS]
    gain, *gradients = tape.gradient(loss, [attention.gain.value, *kernels])
    np.testing.assert_allclose(gain, golden("grad/gamma"), rtol=1e-4)
    for name, gradient in zip(CONVOLUTIONS, gradients, strict=True):
        expected = hwio(golden(f"grad/{name}.weight"))
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5, err_msg=name)
        u = getattr(attention, name).u
        np.testing.assert_allclose(u, golden(f"u0_after/{name}.u0"), atol=1e-5, err_msg=name)


def test_identity_at_initialisation():
    x = np.random.default_rng(0).normal(size=(2, 4, 2, 16)).astype(np.float32)
    layer = SelfAttention(16)
    np.testing.assert_array_equal(layer(x, training=True), x)
    layer.gain.assign(1.0)
    assert np.abs(layer(x) - x).max() > 1e-3


def test_variables():
    layer = SelfAttention(16)
    layer.build((None, 4, 4, 16))
    shapes = {v.path.partition("/")[2]: tuple(v.shape) for v in layer.trainable_variables}
    assert shapes == {
        "gain": (),
        "theta/kernel": (1, 1, 16, 2),
        "phi/kernel": (1, 1, 16, 2),
        "g/kernel": (1, 1, 16, 8),
        "o/kernel": (1, 1, 8, 16),
    }


@pytest.mark.parametrize("channels", [1, 7])
def test_too_few_channels_is_an_input_error(channels):
    with pytest.raises(InputError, match=f"at least 8 channels, got {channels}$"):
        SelfAttention(channels)


def test_config_keeps_the_convolutions_options():
    conv = functools.partial(
        SpectralConv2D, spectral_norm=False, sn_eps=1e-3, kernel_initializer="zeros"
    )
    config = SelfAttention(16, conv=conv).get_config()
    again = SelfAttention.from_config(config)
    assert again.get_config() == config
    assert again.channels == 16
    for name in CONVOLUTIONS:
        layer = getattr(again, name)
        assert (layer.spectral_norm, layer.sn_eps) == (False, 1e-3)
        assert type(layer.kernel_initializer).__name__ == "Zeros"


def test_batch_may_be_unknown():
    x = np.random.default_rng(0).normal(size=(3, 4, 4, 8)).astype(np.float32)
    layer = SelfAttention(8)
    layer.build((None, 4, 4, 8))
    layer.gain.assign(1.0)
    function = tf.function(layer, input_signature=[tf.TensorSpec((None, 4, 4, 8))])
    np.testing.assert_allclose(function(x), layer(x), atol=1e-5)
