"""A stage's step: phases in turn, their microbatches, batches, draws and counters."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import endless

from cgt_tf.errors import InputError
from cgt_tf.methods.phases import Adam, Phase, Stage, Terms, Trained
from cgt_tf.methods.run_networks import Networks
from cgt_tf.training.draws import Draws
from cgt_tf.training.state import TrainState
from cgt_tf.training.step import StageStep, batches_per_step, microbatches_per_step

pytestmark = pytest.mark.usefixtures("graphs")

ONE_DEVICE = tf.distribute.OneDeviceStrategy("/cpu:0")
RATE = 0.125


class Number(keras.layers.Layer):
    """One trained value, zero at first."""

    def __init__(self, name):
        super().__init__(name=name)
        self.value = self.add_weight(name="value", shape=(), initializer="zeros")


@pytest.fixture
def networks():
    with ONE_DEVICE.scope():
        return Networks(None, ["a"], Number("generator"), others={"other": Number("other")})


def phase(name="phase", network="generator", reported=None, **fields):
    """Lowers a value by the learning rate each update, whatever the gradient's size."""

    def loss(p):
        terms = Terms({f"{name}_loss": 2.0 * p.networks[network].value}, {})
        return terms if reported is None else terms._replace(reported=reported(p))

    adam = Adam(learning_rate=RATE, beta_2=0.0, epsilon=1e-12)
    return Phase(name, (Trained(network, adam),), loss, **fields)


def run(config, networks, phases, steps, first_step=0, first_microbatch=0):
    """Scalars of each step, and the state; batch i of a step holds i in images and labels."""
    stage = Stage("stage", steps, phases)
    with ONE_DEVICE.scope():
        state = TrainState(networks, (stage,), config, ema_networks=())
    state.step.assign(first_step)
    step = StageStep(ONE_DEVICE, state, stage, config, first_step, first_microbatch)
    batches = endless(
        *(
            (np.full((4, 2, 2, 3), i, np.uint8), np.full(4, i, np.int32), np.arange(4) + 4 * i)
            for i in range(batches_per_step(stage))
        )
    )
    scalars = {name: values.numpy() for name, values in step(batches, steps).items()}
    return [{k: float(v[i]) for k, v in scalars.items()} for i in range(steps)], state


def test_phases_take_turns_and_their_batches_in_order(config, networks):
    def labels(p):
        return {"labels": tf.reduce_mean(tf.cast(p.labels, tf.float32))}

    def images(p):
        value = (tf.reduce_mean(p.images) + 1) * 127.5
        return {"images": value, "indices": tf.reduce_mean(tf.cast(p.indices, tf.float32))}

    phases = (
        phase("first", reported=labels, updates=2, microbatches=3),
        phase("none", "other", reported=lambda p: {"none": float(p.images is None)}, images=False),
        phase("last", "other", reported=images),
    )
    stage = Stage("stage", 1, phases)
    assert (batches_per_step(stage), microbatches_per_step(stage)) == (7, 8)
    (record, _), state = run(config, networks, phases, 2)
    assert record["labels"] == np.mean(range(6))
    assert record["images"] == pytest.approx(6, abs=1e-4)
    assert record["indices"] == np.mean([24, 25, 26, 27])
    assert record["none"] == 1
    assert {name: o.iterations for name, o in state.optimizers.items()} == {
        "first": 4,
        "none": 2,
        "last": 2,
    }
    assert float(networks.generator.value) == pytest.approx(-4 * RATE)
    assert float(networks["other"].value) == pytest.approx(-4 * RATE)
    assert int(state.step) == 2


@pytest.mark.parametrize("passes", [1, 3])
def test_an_update_has_the_mean_gradient_and_scalars_of_its_passes(config, networks, passes):
    """Adam without momentum at a large epsilon is gradient descent."""

    def loss(p):
        factor = tf.cast(p.labels[0], tf.float32)
        return Terms({"loss": factor * p.networks["generator"].value}, {"factor": factor})

    adam = Adam(learning_rate=1e8, beta_2=0.0, epsilon=1e8)
    only = Phase("only", (Trained("generator", adam),), loss, microbatches=passes)
    (record,), _ = run(config, networks, (only,), 1)
    mean = np.mean(range(passes))
    assert record["factor"] == pytest.approx(mean)
    assert float(networks.generator.value) == pytest.approx(-mean, rel=1e-4)


def test_draws_are_those_of_the_pass_over_the_whole_run(config, networks):
    def drawn(name):
        return lambda p: {name: tf.reduce_mean(p.draws.normal(5))}

    phases = (
        phase("first", reported=drawn("one"), microbatches=2),
        phase("second", "other", reported=drawn("two"), updates=2, images=False),
    )
    records, _ = run(config, networks, phases, 2, first_step=7, first_microbatch=1000)
    draws = Draws(config.seed, config.training.batch_size, ONE_DEVICE)
    means = [
        float(tf.reduce_mean(draws.of_microbatch(tf.constant(1000 + i, tf.int64)).normal(5)))
        for i in range(8)
    ]
    for record, first in zip(records, (0, 4), strict=True):
        assert record["one"] == pytest.approx(np.mean(means[first : first + 2]), abs=1e-6)
        assert record["two"] == pytest.approx(np.mean(means[first + 2 : first + 4]), abs=1e-6)


def test_a_phase_may_rest_for_some_steps(config, networks):
    def counters(p):
        return {"update": tf.cast(p.update, tf.float32), "step": tf.cast(p.step, tf.float32)}

    phases = (
        phase("always", "other", reported=lambda p: {"value": p.networks["generator"].value}),
        phase("seldom", reported=counters, every=3, updates=2),
    )
    records, state = run(config, networks, phases, 7, first_step=10)
    assert state.optimizers["seldom"].iterations == 6
    assert [r["value"] for r in records] == pytest.approx(
        [-RATE * count for count in (0, 2, 2, 2, 4, 4, 4)]
    )
    # Updates 0 and 1, 2 and 3, 4 and 5 at the steps 10, 13 and 16 that were done before.
    assert [r["update"] for r in records] == [0.5, 0, 0, 2.5, 0, 0, 4.5]
    assert [r["step"] for r in records] == [10, 0, 0, 13, 0, 0, 16]


def test_what_is_a_defect_of_a_method(config, networks):
    def independent(p):
        return Terms({"loss": tf.reduce_mean(p.images)})

    adam = Adam(learning_rate=RATE)
    only = Phase("only", (Trained("generator", adam),), independent)
    with pytest.raises(ValueError, match="phase only does not depend on value, which it trains"):
        run(config, networks, (only,), 1)
    with pytest.raises(ValueError, match="phases called twice train different variables"):
        run(config, networks, (phase("twice"), phase("twice", "other")), 1)
    wrong = Phase("wrong", (Trained("generator", adam, ("valu",)),), independent)
    with pytest.raises(InputError, match="'valu' to match a variable"):
        run(config, networks, (wrong,), 1)
