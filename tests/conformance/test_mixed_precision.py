"""bfloat16: what is computed in it, and what must stay float32."""

import numpy as np
import pytest
import tensorflow as tf
from layer_cases import CASES, UNCONDITIONAL, randomize

from cgt_tf.layers.conditional_batch_norm import ConditionalBatchNorm
from cgt_tf.layers.mixed import compute_in
from cgt_tf.networks.gan import create_gan
from cgt_tf.networks.spec import GanSpec

pytestmark = pytest.mark.usefixtures("graphs")

# Rounding to 8 bits, times what a few sums and normalisations make of it.
ROUNDING = 0.03
each_case = pytest.mark.parametrize("name", CASES)


def rounded(arguments):
    """Arguments whose numbers bfloat16 can hold, so that only a layer's own rounding counts."""

    def one(x):
        return None if x is None else tf.cast(tf.cast(x, tf.bfloat16), tf.float32)

    return tf.nest.map_structure(one, arguments)


def error(found, expected):
    """Length of the difference over that of what was expected, of one tensor or of several."""
    parts = zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True)
    flat = [[tf.reshape(tf.cast(x, tf.float32), [-1]) for x in pair] for pair in parts]
    found, expected = (tf.concat(part, 0) for part in zip(*flat, strict=True))
    return float(tf.norm(found - expected) / tf.norm(expected))


@pytest.fixture
def pair(name):
    """The same layer twice, in float32 and in bfloat16, with the arguments for both."""
    factory, arguments = CASES[name]
    arguments, layers = rounded(arguments), []
    for precision in ("float32", "bfloat16"):
        with compute_in(precision):
            layer = factory()
            layer(*arguments)
        randomize(layer)
        layers.append(layer)
    return *layers, arguments


@each_case
def test_outputs_and_gradients_follow_float32(pair):
    plain, mixed, arguments = pair
    results = []
    for layer in (plain, mixed):
        with tf.GradientTape() as tape:
            y = layer(*arguments, training=True)
            loss = tf.reduce_mean(tf.square(tf.cast(y, tf.float32)))
        results.append((y, tape.gradient(loss, [v.value for v in layer.trainable_variables])))
    (expected, wanted), (found, gradients) = results
    assert error(found, expected) < ROUNDING
    assert {gradient.dtype for gradient in gradients} <= {tf.float32}
    # All together, as what is left of single ones may be what cancels.
    assert not gradients or error(gradients, wanted) < 2 * ROUNDING


@each_case
def test_variables_statistics_and_power_vectors_are_those_of_float32(pair):
    plain, mixed, arguments = pair
    for layer in (plain, mixed):
        layer(*arguments, training=True)
    for expected, found in zip(plain.variables, mixed.variables, strict=True):
        assert found.dtype == "float32", found.path
        if not found.trainable:
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=found.path)


@each_case
def test_config_round_trip(pair):
    _, mixed, arguments = pair
    again = type(mixed).from_config(mixed.get_config())
    again(*arguments)
    for old, new in zip(mixed.variables, again.variables, strict=True):
        new.assign(old)
    np.testing.assert_array_equal(
        tf.cast(again(*arguments), tf.float32), tf.cast(mixed(*arguments), tf.float32)
    )


def test_moving_means_arrive():
    """In bfloat16 steps of a tenth of what is left would stop 4 % below the mean."""
    with compute_in("bfloat16"):
        norm = ConditionalBatchNorm(4)
    x = tf.fill([2, 4, 4, 4], tf.constant(3.0, tf.bfloat16))
    for _ in range(100):
        norm(x, UNCONDITIONAL, training=True)
    np.testing.assert_allclose(norm.moving_mean, 3.0 * (1 - 0.9**100), rtol=1e-5)


@pytest.mark.parametrize("architecture", ["biggan", "biggan_deep"])
def test_networks(architecture):
    spec = GanSpec(
        architecture=architecture,
        resolution=16,
        num_classes=3,
        dim_z=9 if architecture == "biggan" else 6,
        g_widths=(16, 16, 8),
        d_widths=(16, 16),
        d_halvings=2,
        hierarchical=architecture == "biggan",
        shared_dim=4,
        g_attention=(16,),
        d_attention=(8,),
    )
    gans = []
    for precision in ("float32", "bfloat16"):
        with compute_in(precision):
            gans.append(create_gan(spec, list("abc")))
    plain, mixed = gans
    for part in ("generator", "discriminator"):
        pairs = zip(getattr(plain, part).variables, getattr(mixed, part).variables, strict=True)
        for old, new in pairs:
            new.assign(old)
    z = np.random.default_rng(0).normal(size=(4, spec.dim_z)).astype(np.float32)
    labels = np.array([0, 1, 2, 0])
    for training in (False, True):
        expected, _ = plain.generator(z, labels, training=training)
        found, endpoints = mixed.generator(z, labels, training=training)
        assert {found.dtype, *(x.dtype for x in endpoints.values())} == {tf.float32}
        assert error(found, expected) < ROUNDING
        wanted, _ = plain.discriminator(expected, labels, training=training)
        logits, endpoints = mixed.discriminator(expected, labels, training=training)
        assert {logits.dtype, *(x.dtype for x in endpoints.values())} == {tf.float32}
        assert error(logits, wanted) < ROUNDING
    # Something is computed in bfloat16: the results are not the same to the last digit.
    assert np.abs(found - expected).max() > 1e-5
    assert mixed.generator.blocks[0].conv1(endpoints["block_0"][..., :16]).dtype == tf.bfloat16


def test_the_policy_is_left_as_it_was():
    with compute_in("bfloat16"), pytest.raises(KeyError), compute_in("float32"):
        raise KeyError
    layer = ConditionalBatchNorm(4)
    assert layer.compute_dtype == "float32"
