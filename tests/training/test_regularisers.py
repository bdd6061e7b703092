"""R1 against closed forms, its schedule, and its share of microbatches and replicas."""

import numpy as np
import pytest
import tensorflow as tf
from helpers import endless
from tiny_scratch import TinyScratch

from cgt_tf.methods.regularisers import lazy_r1, squared_gradients

GAMMA, EVERY = 3.0, 4


@pytest.fixture
def pictures():
    return tf.constant(np.random.default_rng(0).normal(size=(6, 4, 4, 3)).astype(np.float32))


@pytest.fixture
def weight():
    return tf.Variable(np.random.default_rng(1).normal(size=(4, 4, 3)).astype(np.float32))


def test_a_linear_discriminator_has_the_gradient_of_its_weight(pictures, weight):
    found = squared_gradients(lambda x: tf.tensordot(x, weight, 3) + 2.0, pictures)
    np.testing.assert_allclose(found, 6 * np.sum(weight.numpy() ** 2), rtol=1e-5)


def test_a_quadratic_discriminator_has_a_gradient_of_each_image(pictures):
    found = squared_gradients(lambda x: tf.reduce_sum(x**2, axis=(1, 2, 3)), pictures)
    np.testing.assert_allclose(found, np.sum((2 * pictures.numpy()) ** 2), rtol=1e-5)


def regularised(pictures, weight, update, power=1):
    """The penalty of D = <w, x^power> + b, and its gradients by w and b."""
    bias = tf.Variable(1.0)

    def logits_of(x):
        return tf.tensordot(x**power, weight, 3) + bias

    @tf.function
    def run(update):
        with tf.GradientTape() as tape:
            penalty = lazy_r1(logits_of, pictures, update, GAMMA, EVERY)
        zero = tf.UnconnectedGradients.ZERO
        return penalty, tape.gradient(penalty, [weight, bias], unconnected_gradients=zero)

    return run(tf.constant(update, tf.int64))


@pytest.mark.parametrize("update", [0, 4, 400])
def test_due_updates_count_as_often_as_the_interval(pictures, weight, update):
    """gamma / 2 |w|^2 for D = <w, x> + b; its gradients are gamma w and 0."""
    penalty, (gradient, of_bias) = regularised(pictures, weight, update)
    squares = np.sum(weight.numpy() ** 2)
    np.testing.assert_allclose(penalty, EVERY * GAMMA / 2 * squares, rtol=1e-5)
    np.testing.assert_allclose(gradient, EVERY * GAMMA * weight.numpy(), rtol=1e-5)
    assert float(of_bias) == 0.0


@pytest.mark.parametrize("update", [1, 3, 5])
def test_other_updates_have_none(pictures, weight, update):
    penalty, gradients = regularised(pictures, weight, update)
    assert float(penalty) == 0.0
    assert all(not np.any(gradient) for gradient in gradients)


def test_a_batch_has_the_mean_of_its_parts(pictures, weight):
    """As of the microbatches of an update and the replicas; each image counts for itself."""
    whole, (gradient, _) = regularised(pictures, weight, 0, power=2)
    parts = [regularised(pictures[i : i + 2], weight, 0, power=2) for i in (0, 2, 4)]
    penalties = [penalty for penalty, _ in parts]
    np.testing.assert_allclose(np.mean(penalties), whole, rtol=1e-5)
    np.testing.assert_allclose(np.mean([g for _, (g, _) in parts], axis=0), gradient, rtol=1e-5)
    assert np.ptp(penalties) > 0.01 * whole


def batch_of(images, labels):
    return images, np.array(labels, np.int32), np.arange(len(labels))


def test_in_a_run_it_is_due_at_every_kth_update_and_pulls_the_gradients_down(make_run, config):
    config.training.r1_gamma, config.training.r1_every = 10.0, 2
    config.training.d_steps, config.training.accumulation = 1, 2
    run = make_run(config, method=TinyScratch)
    step = run.make_step()
    rng = np.random.default_rng(0)
    batch = batch_of(rng.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8), [0, 1, 2, 0])
    r1 = step(endless(batch), 4)["r1"].numpy()
    assert r1[0] > 0 and r1[2] > 0 and r1[1] == r1[3] == 0
    assert r1[2] < r1[0]


def test_the_first_penalty_of_a_run_is_that_of_its_discriminator(make_run, config):
    """Of all images of an update, whatever the microbatches; spectral norms stand still for it."""
    config.training.r1_gamma, config.training.r1_every = 2.0, 3
    config.training.batch_size, config.training.accumulation = 2, 2
    config.discriminator.learning_rate = 0.0
    run = make_run(config, method=TinyScratch)
    discriminator = run.networks.discriminator
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    labels = np.array([0, 1, 2, 0], np.int32)
    # Power vectors that have converged do not depend on how many microbatches there were.
    for _ in range(200):
        for layer in discriminator._flatten_layers():
            if getattr(layer, "spectral_norm", False):
                layer.normalized_kernel(True)
    step = run.make_step()
    batches = endless(batch_of(images[:2], labels[:2]), batch_of(images[2:], labels[2:]))
    found = step(batches)["r1"]
    x = tf.cast(images, tf.float32) / 127.5 - 1
    total = squared_gradients(lambda x: discriminator(x, labels)[0], x)
    np.testing.assert_allclose(found, 3 * 2.0 / 2 * total / 4, rtol=1e-3)
