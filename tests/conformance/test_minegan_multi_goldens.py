"""Our choice among several generators in the authors' networks for MNIST, which are built here.

One conditional teacher with its labels held stands for nine generators; sizes are reduced.
"""

import functools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from cgt_tf.methods.competition import selection_loss, winners
from cgt_tf.networks.selector import picked

GOLDEN = Path(__file__).parents[1] / "goldens" / "minegan_multi.npz"
COUNT, WIDTH, PENALTY = 9, 12, 10.0


@functools.cache
def golden():
    with np.load(GOLDEN) as file:
        return dict(file)


@pytest.fixture
def values():
    """Variables by name; fresh ones for each test."""
    prefix = "state/"
    return {
        key.removeprefix(prefix): tf.Variable(value)
        for key, value in golden().items()
        if key.startswith(prefix)
    }


def linear(values, name, x):
    return x @ values[f"{name}.W"] + values[f"{name}.b"]


def mine(values, u):
    """Latents of all generators, and the selector's logits."""
    hidden = tf.nn.relu(linear(values, "miner.Input1", u))
    mined = linear(values, "miner.Input2", hidden)
    return tf.split(mined, COUNT, axis=-1), linear(values, "miner.prob", hidden)


def teach(values, latent, label):
    """Images [B, 784] of one generator."""
    batch = len(latent)
    labels = tf.one_hot([label] * batch, COUNT)
    x = tf.nn.relu(linear(values, "teacher.Input", tf.concat([latent, labels], -1)))
    x = tf.transpose(tf.reshape(x, (batch, -1, 4, 4)), (0, 2, 3, 1))
    for name, side in (("2", 8), ("3", 14), ("5", 28)):
        filters = values[f"teacher.{name}.Filters"]
        shape = (batch, side, side, filters.shape[2])
        x = tf.nn.conv2d_transpose(x, filters, shape, 2) + values[f"teacher.{name}.Biases"]
        x = tf.nn.relu(x)[:, :7, :7] if name == "2" else tf.nn.relu(x) if name == "3" else x
    return tf.reshape(tf.sigmoid(x), (batch, -1))


def criticise(values, images):
    """Logits [B] of images [B, 784]."""
    x = tf.reshape(images, (-1, 28, 28, 1))
    for name in "123":
        x = tf.nn.conv2d(x, values[f"critic.{name}.Filters"], 2, "SAME")
        x = tf.nn.leaky_relu(x + values[f"critic.{name}.Biases"], 0.2)
    x = tf.reshape(tf.transpose(x, (0, 3, 1, 2)), (len(images), -1))
    return linear(values, "critic.Output", x)[:, 0]


def compete(values):
    """Images of all generators, the critic's logits [B, 9] and the selector's."""
    mined, selector = mine(values, golden()["noise"])
    fakes = [teach(values, latent, i) for i, latent in enumerate(mined)]
    return fakes, tf.stack([criticise(values, x) for x in fakes], -1), selector


def slopes(values, fakes):
    """Norms [B, 9] of the critic's gradient between real and generated images."""
    real, columns = golden()["x_real"], []
    for fake, alpha in zip(fakes, golden()["alpha_per_gan"], strict=True):
        between = real + alpha[:, None] * (fake - real)
        with tf.GradientTape() as tape:
            tape.watch(between)
            total = tf.reduce_sum(criticise(values, between))
        columns.append(tf.sqrt(tf.reduce_sum(tape.gradient(total, between) ** 2, -1)))
    return tf.stack(columns, -1)


def of_winners(matrix, choice):
    return picked(tf.unstack(matrix, axis=-1), choice)


def assert_gradients_equal(tape, loss, values, name):
    """Those that are stored, and none for all other variables."""
    prefix = f"grad_{name}/"
    stored = {k.removeprefix(prefix): v for k, v in golden().items() if k.startswith(prefix)}
    stored.pop("selector_logits", None)
    network = next(iter(stored)).partition(".")[0]
    for key, variable in values.items():
        gradient = tape.gradient(loss, variable) if key.startswith(network) else None
        assert (gradient is None) == (key not in stored), key
        if gradient is not None:
            floor = max(1e-6, 1e-3 * np.abs(stored[key]).max())
            np.testing.assert_allclose(gradient, stored[key], 0, floor, err_msg=key)


def test_the_networks_are_the_authors(values):
    data, (fakes, logits, selector) = golden(), compete(values)
    np.testing.assert_allclose(tf.stack(fakes), data["fakes"], atol=1e-4)
    np.testing.assert_allclose(logits, data["D_fake_matrix"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(selector, data["selector_logits"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(slopes(values, fakes), data["slopes_matrix"], rtol=1e-4)


def test_the_highest_logit_wins():
    data = golden()
    choice = winners(tf.constant(data["D_fake_matrix"]))
    np.testing.assert_array_equal(tf.argmax(choice, -1), data["pseudo_label"].astype(int))
    np.testing.assert_array_equal(tf.reduce_mean(choice, 0) * 6, data["selector_frequency"] * 6)


def test_only_winners_teach_the_miner(values):
    with tf.GradientTape(persistent=True) as tape:
        fakes, logits, _ = compete(values)
        loss = -tf.reduce_mean(criticise(values, picked(fakes, winners(logits))))
    np.testing.assert_allclose(loss, golden()["gen_cost"], rtol=1e-4)
    # That of the critic's own variables is the critic's, which this phase does not train.
    assert_gradients_equal(tape, loss, values, "gen_cost")


def test_only_winners_teach_the_critic(values):
    data = golden()
    fakes, _, _ = compete(values)
    with tf.GradientTape(persistent=True) as tape:
        logits = tf.stack([criticise(values, x) for x in fakes], -1)
        choice = winners(logits)
        slope = of_winners(slopes(values, fakes), choice)
        penalty = tf.reduce_mean((slope - 1.0) ** 2)
        difference = of_winners(logits, choice) - criticise(values, data["x_real"])
        loss = tf.reduce_mean(difference) + PENALTY * penalty
    np.testing.assert_allclose(penalty, data["gradient_penalty"], rtol=1e-4)
    np.testing.assert_allclose(loss, data["disc_cost"], rtol=1e-4)
    assert_gradients_equal(tape, loss, values, "disc_cost")


def test_the_selector_learns_the_winners(values):
    data = golden()
    with tf.GradientTape(persistent=True) as tape:
        _, logits, selector = compete(values)
        loss = selection_loss(selector, winners(logits))
    np.testing.assert_allclose(loss, data["cross_entropy"], rtol=1e-4)
    assert_gradients_equal(tape, loss, values, "cross_entropy")
    expected = data["grad_cross_entropy/selector_logits"]
    np.testing.assert_allclose(tape.gradient(loss, selector), expected, rtol=1e-3, atol=1e-6)
