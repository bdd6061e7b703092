"""Spectral normalisation: sigma, the power vector, the gradient, parity with BigGAN-PyTorch."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from cgt_tf.layers.spectral import (
    SpectralConv2D,
    SpectralDense,
    SpectralEmbedding,
    power_step,
)

GOLDENS = np.load(Path(__file__).parents[1] / "goldens" / "layers.npz")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def nhwc(x):
    return np.transpose(x, (0, 2, 3, 1))


def hwio(kernel):
    return np.transpose(kernel, (2, 3, 1, 0))


def layers_and_inputs():
    return [
        (SpectralDense(6), normal(3, 4)),
        (SpectralConv2D(6), normal(2, 4, 6, 3)),
        (SpectralConv2D(6, kernel_size=1), normal(2, 4, 6, 3)),
        (SpectralConv2D(6, resample="up"), normal(2, 4, 6, 3)),
        (SpectralConv2D(6, resample="down"), normal(2, 4, 6, 3)),
        (SpectralEmbedding(6), np.eye(5, dtype=np.float32)[[0, 3]]),
    ]


def matrix_of(layer):
    """The matrix whose norm is taken, rows first: output channels, or classes of an embedding."""
    kernel = ops.convert_to_numpy(layer.kernel)
    if isinstance(layer, SpectralEmbedding):
        return kernel
    return kernel.reshape(-1, kernel.shape[-1]).T


@pytest.mark.parametrize("start", range(3))
def test_four_times_the_identity_has_sigma_four(start):
    u = normal(1, 5, seed=start)
    sigma, new_u = power_step(tf.constant(4 * np.eye(5, dtype=np.float32)), tf.constant(u), 1e-12)
    assert float(sigma) == pytest.approx(4.0, abs=1e-5)
    np.testing.assert_allclose(new_u, u / np.linalg.norm(u), atol=1e-6)


def test_layers_divide_by_sigma():
    dense = SpectralDense(5, use_bias=False)
    dense.build((None, 5))
    dense.kernel.assign(4 * np.eye(5))
    x = normal(3, 5)
    np.testing.assert_allclose(dense(x), x, atol=1e-5)
    conv = SpectralConv2D(5, kernel_size=1, use_bias=False)
    conv.build((None, 2, 2, 5))
    conv.kernel.assign(4 * np.eye(5)[None, None])
    image = normal(2, 2, 2, 5)
    np.testing.assert_allclose(conv(image), image, atol=1e-5)


def test_bias_is_added_after_the_division():
    dense = SpectralDense(3)
    dense.build((None, 3))
    dense.kernel.assign(4 * np.eye(3))
    dense.bias.assign([1.0, 2.0, 3.0])
    np.testing.assert_allclose(dense(np.zeros((1, 3), np.float32)), [[1.0, 2.0, 3.0]])


@pytest.mark.parametrize("layer, x", layers_and_inputs(), ids=lambda v: getattr(v, "name", ""))
def test_u_moves_only_when_training_and_the_kernel_never(layer, x):
    layer(x)
    layer.kernel.assign(normal(*layer.kernel.shape, seed=1))
    kernel, u = ops.convert_to_numpy(layer.kernel), ops.convert_to_numpy(layer.u)
    evaluated = [layer(x), layer(x, training=False)]
    np.testing.assert_array_equal(*evaluated)
    np.testing.assert_array_equal(layer.u, u)
    trained = layer(x, training=True)
    np.testing.assert_array_equal(trained, evaluated[0])
    assert np.abs(ops.convert_to_numpy(layer.u) - u).max() > 1e-3
    assert np.linalg.norm(layer.u) == pytest.approx(1.0, abs=1e-5)
    assert np.abs(layer(x) - trained).max() > 1e-5
    np.testing.assert_array_equal(layer.kernel, kernel)


@pytest.mark.parametrize("layer, x", layers_and_inputs(), ids=lambda v: getattr(v, "name", ""))
def test_converges_to_the_largest_singular_value_of_rows_by_rest(layer, x):
    layer(x)
    # A gap between the first two singular values, so that the power iteration converges.
    matrix = matrix_of(layer)
    left, _, right = np.linalg.svd(normal(*matrix.shape, seed=2), full_matrices=False)
    values = 3.0 * 0.6 ** np.arange(len(left.T))
    matrix = ((left * values) @ right).astype(np.float32)
    if isinstance(layer, SpectralEmbedding):
        layer.kernel.assign(matrix)
    else:
        layer.kernel.assign(matrix.T.reshape(layer.kernel.shape))
    for _ in range(40):
        layer(x, training=True)
    assert layer.u.shape == (1, matrix.shape[0])
    assert abs(float(np.sum(layer.u[0] * left[:, 0]))) == pytest.approx(1.0, abs=1e-4)
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer.normalized_kernel(False)) * 3.0,
        layer.kernel,
        rtol=1e-4,
        atol=1e-5,
    )


def test_embedding_rows_are_the_classes():
    layer = SpectralEmbedding(3)
    weights = np.eye(7, dtype=np.float32)
    layer(weights)
    assert layer.kernel.shape == (7, 3)
    assert layer.u.shape == (1, 7)
    np.testing.assert_allclose(layer(weights), layer.normalized_kernel(False), atol=1e-6)
    mixed = 0.25 * weights[:1] + 0.75 * weights[4:5]
    rows = ops.convert_to_numpy(layer(weights))
    np.testing.assert_allclose(layer(mixed), 0.25 * rows[:1] + 0.75 * rows[4:5], atol=1e-6)


def test_gradient_goes_through_sigma_with_u_and_v_fixed():
    """d/dW <G, W / sigma> = (G - <G, W / sigma> u v^T) / sigma, in rows-first layout."""
    layer = SpectralDense(4, use_bias=False)
    x, upstream = normal(3, 6), normal(3, 4, seed=1)
    layer(x)
    layer.kernel.assign(normal(6, 4, seed=2))
    matrix, u = (
        matrix_of(layer).astype(np.float64),
        ops.convert_to_numpy(layer.u).astype(np.float64),
    )
    v = u @ matrix
    v /= np.linalg.norm(v)
    u = v @ matrix.T
    u /= np.linalg.norm(u)
    sigma = (u @ matrix @ v.T).item()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x, training=True) * upstream)
    gradient = tape.gradient(loss, layer.kernel.value).numpy().T
    plain = upstream.T.astype(np.float64) @ x
    expected = (plain - np.sum(plain * matrix) / sigma * (u.T @ v)) / sigma
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-5)
    # Were sigma a constant, the second term would be missing.
    assert np.abs(gradient - plain / sigma).max() > 1e-2


@pytest.mark.parametrize("resample", [None, "up", "down"])
def test_gradient_equals_finite_differences_once_u_converged(resample):
    layer = SpectralConv2D(3, resample=resample, use_bias=False, dtype="float64")
    x = normal(1, 2, 4, 2).astype(np.float64)
    layer(x)
    kernel = normal(3, 3, 2, 3, seed=1).astype(np.float64)
    layer.kernel.assign(kernel)
    for _ in range(300):
        layer(x, training=True)
    upstream = normal(*layer(x).shape, seed=2).astype(np.float64)

    def loss():
        return tf.reduce_sum(layer(x) * upstream)

    with tf.GradientTape() as tape:
        value = loss()
    gradient = tape.gradient(value, layer.kernel.value).numpy()
    direction = normal(*kernel.shape, seed=3).astype(np.float64)
    step = 1e-5
    layer.kernel.assign(kernel + step * direction)
    above = float(loss())
    layer.kernel.assign(kernel - step * direction)
    below = float(loss())
    assert np.sum(gradient * direction) == pytest.approx((above - below) / (2 * step), rel=1e-5)


def test_without_spectral_norm_the_kernel_is_used_as_it_is():
    layer = SpectralDense(4, spectral_norm=False, use_bias=False)
    x = normal(2, 3)
    y = layer(x, training=True)
    assert [v.name for v in layer.variables] == ["kernel"]
    np.testing.assert_allclose(y, x @ ops.convert_to_numpy(layer.kernel), atol=1e-6)


def test_power_step_of_a_zero_matrix_is_finite():
    sigma, u = power_step(tf.zeros((3, 4)), tf.constant(normal(1, 4)), 1e-6)
    assert float(sigma) == 0.0
    np.testing.assert_array_equal(u, np.zeros((1, 4)))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"resample": "left"}, "resample must be None, 'up' or 'down', got 'left'"),
        ({"kernel_size": 1, "resample": "up"}, "resampling needs kernel_size 3, got 1"),
    ],
)
def test_conv_rejects_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        SpectralConv2D(4, **options)


def test_conv_equals_biggan_pytorch():
    """Three training calls, then one evaluation: outputs, sigma and u at every call."""
    golden = {k.removeprefix("snconv/"): v for k, v in GOLDENS.items() if k.startswith("snconv/")}
    x = nhwc(golden["x_nchw"])
    layer = SpectralConv2D(5, sn_eps=1e-12)
    layer.build(x.shape)
    layer.kernel.assign(hwio(golden["weight_oihw"]))
    layer.bias.assign(golden["bias"])
    layer.u.assign(golden["u0"])
    np.testing.assert_allclose(layer(x), nhwc(golden["eval_before_nchw"]), atol=1e-5)
    np.testing.assert_array_equal(layer.u, golden["u0"])
    for call in range(3):
        sigma, _ = power_step(
            tf.constant(matrix_of(layer).T),
            tf.constant(ops.convert_to_numpy(layer.u)),
            layer.sn_eps,
        )
        np.testing.assert_allclose(sigma, golden[f"sigma_{call}"][0], rtol=1e-5)
        y = layer(x, training=True)
        np.testing.assert_allclose(y, nhwc(golden[f"train_{call}_nchw"]), atol=1e-5)
        np.testing.assert_allclose(layer.u, golden[f"u0_after_{call}"], atol=1e-5)
    np.testing.assert_allclose(layer(x), nhwc(golden["eval_after_nchw"]), atol=1e-5)
    np.testing.assert_allclose(layer.u, golden["u0_after_eval"], atol=1e-5)


def test_epsilon_is_the_least_norm_divided_by():
    """A matrix so small that max(norm, eps), norm + eps and rsqrt(norm^2 + eps) differ."""
    weight, u = GOLDENS["sn_eps/W_out_in"], GOLDENS["sn_eps/u"]
    layer = SpectralDense(7, use_bias=False, sn_eps=float(GOLDENS["sn_eps/eps"]))
    layer.build((None, 11))
    layer.kernel.assign(weight.T)
    layer.u.assign(u)
    normalised = ops.convert_to_numpy(layer.normalized_kernel(False)).T
    expected = GOLDENS["sn_eps/normalised_biggan_pytorch"]
    np.testing.assert_allclose(normalised, expected, rtol=1e-4)
    for other in ("normalised_biggan_v1_port", "normalised_tf_graph_form"):
        assert not np.allclose(normalised, GOLDENS[f"sn_eps/{other}"], rtol=1e-2)
