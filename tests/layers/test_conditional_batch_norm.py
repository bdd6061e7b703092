"""Conditional batch norms against NumPy: statistics, modulation, domains, folding."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from cgt_tf.layers.conditional_batch_norm import (
    AffineBatchNorm,
    Condition,
    ConditionalBatchNorm,
    FoldedOffsets,
    ProjectedBatchNorm,
    TableBatchNorm,
)

EPSILON = 1e-3


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def randomize(layer, seed=10):
    """Every variable random; variances positive."""
    for i, variable in enumerate(layer.variables):
        value = normal(*variable.shape, seed=seed + i)
        variable.assign(np.abs(value) + 0.5 if variable.name == "moving_variance" else value)


def normalized(x, mean, variance):
    """x over B, H, W; `mean` and `variance` are [C], or one row a sample."""
    mean, variance = (np.reshape(v, (-1, 1, 1, x.shape[-1])) for v in (mean, variance))
    return (x - mean) / np.sqrt(variance + EPSILON)


def modulated(x, scale, shift):
    return x * scale[:, None, None, :] + shift[:, None, None, :]


# Plain statistics.


def test_training_normalises_with_the_biased_variance():
    layer = ConditionalBatchNorm(3, epsilon=EPSILON)
    x = 2 + 3 * normal(2, 2, 4, 3)
    y = layer(x, Condition(None), training=True)
    expected = normalized(x, x.mean((0, 1, 2)), x.var((0, 1, 2)))
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_moving_statistics_take_the_unbiased_variance_with_momentum():
    layer = ConditionalBatchNorm(3)
    x = 2 + 3 * normal(2, 2, 3, 3)
    layer(x, Condition(None), training=True)
    flat = x.reshape(-1, 3)
    np.testing.assert_allclose(layer.moving_mean, 0.1 * flat.mean(0), rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, 0.9 + 0.1 * flat.var(0, ddof=1), rtol=1e-5)
    again = normal(3, 2, 2, 3, seed=1)
    layer(again, Condition(None), training=True)
    expected = 0.09 * flat.mean(0) + 0.1 * again.mean((0, 1, 2))
    np.testing.assert_allclose(layer.moving_mean, expected, rtol=1e-4, atol=1e-6)


def test_a_single_value_a_channel_keeps_the_statistics_finite():
    layer = ConditionalBatchNorm(2)
    layer(normal(1, 1, 1, 2), Condition(None), training=True)
    np.testing.assert_allclose(layer.moving_variance, [0.9, 0.9], rtol=1e-5)


def test_evaluation_uses_the_moving_statistics_and_leaves_them():
    layer = ConditionalBatchNorm(3, epsilon=EPSILON)
    x = normal(2, 2, 4, 3)
    layer.build(x.shape)
    layer.moving_mean.assign([1.0, -2.0, 0.5])
    layer.moving_variance.assign([4.0, 0.25, 1.0])
    expected = normalized(x, np.float32([1, -2, 0.5]), np.float32([4, 0.25, 1]))
    np.testing.assert_allclose(layer(x, Condition(None)), expected, atol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean, [1.0, -2.0, 0.5])
    np.testing.assert_array_equal(layer.moving_variance, [4.0, 0.25, 1.0])


def test_momentum_is_the_share_of_the_old_statistics():
    layer = ConditionalBatchNorm(2, momentum=0.25)
    x = normal(4, 2, 2, 2)
    layer(x, Condition(None), training=True)
    np.testing.assert_allclose(layer.moving_mean, 0.75 * x.mean((0, 1, 2)), rtol=1e-5)


def test_gradient_goes_through_the_batch_statistics():
    """Sum and sum of squares of a normalised batch are constant, so their gradient vanishes."""
    layer = AffineBatchNorm(3, epsilon=1e-12, dtype="float64")
    x = tf.constant(normal(2, 2, 4, 3), tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, Condition(None), training=True)
        loss = tf.reduce_sum(y) + tf.reduce_sum(y**2)
    np.testing.assert_allclose(tape.gradient(loss, x), np.zeros(x.shape), atol=1e-9)


def test_statistics_are_not_trainable():
    layer = AffineBatchNorm(3)
    layer.build((None, 2, 2, 3))
    assert [v.name for v in layer.trainable_variables] == ["gain", "bias"]
    names = [v.name for v in layer.non_trainable_variables]
    assert names == ["moving_mean", "moving_variance"]


def test_wrong_channels_are_rejected():
    with pytest.raises(ValueError, match="expected 3 channels, got"):
        ConditionalBatchNorm(3)(normal(2, 2, 2, 4), Condition(None))


# Where scale and shift come from.


def test_affine_scales_and_shifts_each_channel():
    layer = AffineBatchNorm(3, epsilon=EPSILON)
    x = normal(2, 2, 4, 3)
    layer.build(x.shape)
    gain, bias = np.float32([2, -1, 0.5]), np.float32([1, 0, -3])
    layer.gain.assign(gain)
    layer.bias.assign(bias)
    expected = normalized(x, x.mean((0, 1, 2)), x.var((0, 1, 2))) * gain + bias
    np.testing.assert_allclose(layer(x, Condition(None), training=True), expected, atol=1e-5)


@pytest.mark.parametrize("latent_dim", [0, 2])
def test_table_looks_up_one_row_a_class(latent_dim):
    layer = TableBatchNorm(3, num_classes=4, latent_dim=latent_dim, epsilon=EPSILON)
    x, z = normal(2, 2, 4, 3), normal(2, 2, seed=1)
    layer.build(x.shape)
    randomize(layer)
    condition = Condition(np.eye(4, dtype=np.float32)[[3, 1]], z if latent_dim else None)
    tables = [ops.convert_to_numpy(t) for t in (layer.scale_table, layer.shift_table)]
    scale, shift = 1 + tables[0][[3, 1]], tables[1][[3, 1]]
    if latent_dim:
        scale = scale + z @ ops.convert_to_numpy(layer.scale_latent)
        shift = shift + z @ ops.convert_to_numpy(layer.shift_latent)
    expected = normalized(
        x, ops.convert_to_numpy(layer.moving_mean), ops.convert_to_numpy(layer.moving_variance)
    )
    np.testing.assert_allclose(layer(x, condition), modulated(expected, scale, shift), atol=1e-5)
    names = {v.name for v in layer.trainable_variables}
    latents = {"scale_latent", "shift_latent"} if latent_dim else set()
    assert names == {"scale_table", "shift_table"} | latents


def test_table_mixes_classes_by_weight():
    layer = TableBatchNorm(3, num_classes=4)
    layer.build((None, 2, 2, 3))
    randomize(layer)
    weights = np.float32([[0.25, 0, 0.75, 0]])
    scale, shift = layer.modulation(Condition(weights), False)
    tables = [ops.convert_to_numpy(t) for t in (layer.scale_table, layer.shift_table)]
    np.testing.assert_allclose(scale, 1 + weights @ tables[0], rtol=1e-5)
    np.testing.assert_allclose(shift, weights @ tables[1], rtol=1e-5)


@pytest.mark.parametrize("latent_dim", [0, 2])
def test_projected_multiplies_class_then_latent(latent_dim):
    layer = ProjectedBatchNorm(3, condition_dim=4 + latent_dim)
    layer.build((None, 2, 2, 3))
    randomize(layer)
    classes, z = normal(2, 4), normal(2, latent_dim, seed=1)
    condition = Condition(None, z if latent_dim else None, embedding=classes)
    scale, shift = layer.modulation(condition, False)
    joined = np.concatenate([classes, z], axis=1)
    for part, actual, one in ((layer.scale, scale, 1), (layer.shift, shift, 0)):
        kernel = ops.convert_to_numpy(part.kernel).astype(np.float64)
        u = ops.convert_to_numpy(part.u).astype(np.float64)
        v = u @ kernel.T
        v /= np.linalg.norm(v)
        sigma = np.linalg.norm(v @ kernel)
        np.testing.assert_allclose(actual, one + joined @ kernel / sigma, rtol=1e-4, atol=1e-5)
    assert len(layer.trainable_variables) == 2, "projections have no bias"


def test_projected_moves_both_power_vectors_when_training():
    layer = ProjectedBatchNorm(3, condition_dim=4)
    x, condition = normal(2, 2, 2, 3), Condition(None, embedding=normal(2, 4))
    layer(x, condition)
    before = [ops.convert_to_numpy(part.u) for part in (layer.scale, layer.shift)]
    layer(x, condition)
    for part, u in zip((layer.scale, layer.shift), before, strict=True):
        np.testing.assert_array_equal(part.u, u)
    layer(x, condition, training=True)
    for part, u in zip((layer.scale, layer.shift), before, strict=True):
        assert np.abs(ops.convert_to_numpy(part.u) - u).max() > 1e-3


# Folding.


@pytest.mark.parametrize("latent_dim", [0, 2])
def test_folded_projection_equals_the_projection(latent_dim):
    layer = ProjectedBatchNorm(3, condition_dim=4 + latent_dim)
    layer.build((None, 2, 2, 3))
    randomize(layer)
    embeddings, z = normal(5, 4), normal(5, latent_dim, seed=1)
    folded = layer.fold(tf.constant(embeddings))
    condition = Condition(None, z if latent_dim else None, embedding=embeddings)
    scale, shift = layer.modulation(condition, False)
    folded_scale, folded_shift = 1 + folded.scale, folded.shift
    if latent_dim:
        folded_scale += z @ ops.convert_to_numpy(folded.scale_latent)
        folded_shift += z @ ops.convert_to_numpy(folded.shift_latent)
    else:
        assert folded.scale_latent is None and folded.shift_latent is None
    np.testing.assert_allclose(folded_scale, scale, atol=1e-5)
    np.testing.assert_allclose(folded_shift, shift, atol=1e-5)


@pytest.mark.parametrize("latent_dim", [0, 2])
def test_table_folds_to_itself(latent_dim):
    layer = TableBatchNorm(3, num_classes=4, latent_dim=latent_dim)
    layer.build((None, 2, 2, 3))
    randomize(layer)
    folded = layer.fold()
    assert isinstance(folded, FoldedOffsets)
    np.testing.assert_array_equal(folded.scale, layer.scale_table)
    np.testing.assert_array_equal(folded.shift, layer.shift_table)
    if latent_dim:
        np.testing.assert_array_equal(folded.scale_latent, layer.scale_latent)
        np.testing.assert_array_equal(folded.shift_latent, layer.shift_latent)
    else:
        assert folded.scale_latent is None


# Domains.


@pytest.fixture
def two_domains():
    options = {"domains": 2, "statistics": 2, "epsilon": EPSILON}
    layer = TableBatchNorm(3, num_classes=4, latent_dim=2, **options)
    layer.build((None, 2, 4, 3))
    randomize(layer)
    return layer


def test_each_sample_gets_its_domains_statistics_and_latent_projection(two_domains):
    layer, x, z = two_domains, normal(2, 2, 4, 3), normal(2, 2, seed=1)
    domain_of_sample = [1, 0]
    classes = np.eye(4, dtype=np.float32)[[2, 0]]
    domains = np.eye(2, dtype=np.float32)[domain_of_sample]
    y = layer(x, Condition(classes, z, domains, domains))
    values = {v.name: ops.convert_to_numpy(v) for v in layer.variables}
    assert values["moving_mean"].shape == (2, 3)
    assert values["scale_latent"].shape == (4, 3)
    for sample, domain in enumerate(domain_of_sample):
        rows = slice(2 * domain, 2 * domain + 2)
        scale = (
            1 + classes[sample] @ values["scale_table"] + z[sample] @ values["scale_latent"][rows]
        )
        shift = classes[sample] @ values["shift_table"] + z[sample] @ values["shift_latent"][rows]
        plain = normalized(
            x[sample : sample + 1],
            values["moving_mean"][domain],
            values["moving_variance"][domain],
        )
        np.testing.assert_allclose(y[sample], plain[0] * scale + shift, atol=1e-5)


def test_domains_mix(two_domains):
    layer, x, z = two_domains, normal(1, 2, 4, 3), normal(1, 2, seed=1)
    weights = np.float32([[0.25, 0.75]])
    classes = np.float32([[0.25, 0, 0.75, 0]])
    y = layer(x, Condition(classes, z, weights, weights))
    values = {v.name: ops.convert_to_numpy(v) for v in layer.variables}
    plain = normalized(x, weights @ values["moving_mean"], weights @ values["moving_variance"])
    latents = [
        np.tensordot(weights[0], values[n].reshape(2, 2, 3), 1)
        for n in ("scale_latent", "shift_latent")
    ]
    scale = 1 + classes @ values["scale_table"] + z @ latents[0]
    shift = classes @ values["shift_table"] + z @ latents[1]
    np.testing.assert_allclose(y, modulated(plain, scale, shift), atol=1e-5)


def test_in_training_all_domains_meet_the_batch(two_domains):
    """Which is how standing statistics of one of them are taken."""
    domains, x = np.float32([[0, 1]] * 2), normal(2, 2, 4, 3)
    condition = Condition(np.eye(4, dtype=np.float32)[2:], normal(2, 2), domains, domains)
    two_domains.momentum = 0.0
    trained = two_domains(x, condition, training=True)
    np.testing.assert_allclose(two_domains.moving_mean, [x.mean((0, 1, 2))] * 2, rtol=1e-5)
    # Inference then differs by the unbiased variance of 16 values alone.
    difference = np.abs(ops.convert_to_numpy(trained - two_domains(x, condition))).max()
    assert 0 < difference < 0.2


# Several rows of statistics.


def test_rows_of_statistics_are_mixed_and_trained_alike():
    layer = ConditionalBatchNorm(3, statistics=2, momentum=0.25, epsilon=EPSILON)
    x, weights = normal(2, 2, 4, 3), np.float32([[0.25, 0.75]])
    layer.build(x.shape)
    randomize(layer)
    mean, variance = (ops.convert_to_numpy(v) for v in layer.variables)
    y = layer(x, Condition(None, statistics=weights))
    expected = normalized(x, (weights @ mean)[0], (weights @ variance)[0])
    np.testing.assert_allclose(y, expected, atol=1e-5)
    layer(x, Condition(None), training=True)
    expected = 0.25 * mean + 0.75 * x.mean((0, 1, 2))
    np.testing.assert_allclose(layer.moving_mean, expected, rtol=1e-5)


# Configs.


@pytest.mark.parametrize(
    "layer",
    [
        ConditionalBatchNorm(3, momentum=0.5, epsilon=1e-2, statistics=2, name="a"),
        AffineBatchNorm(3, momentum=0.5, epsilon=1e-2, statistics=2, name="b"),
        ProjectedBatchNorm(3, condition_dim=5, sn_eps=1e-3, momentum=0.5, epsilon=1e-2, name="c"),
        TableBatchNorm(
            3, num_classes=4, latent_dim=2, initializer="zeros", domains=2, momentum=0.5, name="d"
        ),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_config_round_trip(layer):
    config = layer.get_config()
    again = type(layer).from_config(config)
    assert again.get_config() == config
    attributes = (
        "name channels momentum epsilon statistics domains condition_dim sn_eps num_classes"
        " latent_dim"
    )
    for attribute in attributes.split():
        assert getattr(again, attribute, None) == getattr(layer, attribute, None), attribute
    for network in (layer, again):
        network.build((None, 2, 2, 3))
    assert [v.shape for v in again.variables] == [v.shape for v in layer.variables]
