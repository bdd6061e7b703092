"""What `--dry_run` says of time and memory."""

import dataclasses
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_scratch import CLASS_NAMES, TinyScratch

from cgt_tf.methods.base import DataSpec
from cgt_tf.methods.phases import Stage
from cgt_tf.training import estimate
from cgt_tf.training.session import Session

pytestmark = pytest.mark.usefixtures("graphs")


class Staged(TinyScratch):
    """Two stages, of which one runs a phase in every eighth step only, and one has no steps."""

    def stages(self, networks):
        (stage,) = super().stages(networks)
        critic, generator = stage.phases
        seldom = dataclasses.replace(generator, every=8)
        return (
            Stage("begin", 3, (dataclasses.replace(critic, name="critic"),), self.note),
            Stage("skipped", 0, (critic,)),
            Stage("go_on", 100, (critic, seldom)),
        )

    began = 0

    def note(self):
        self.began += 1


class Inverting(TinyScratch):
    slow_preparation = "inverts the training images"

    def prepare(self, networks, images):
        raise AssertionError("prepared")


@pytest.fixture
def make_session(config, images):
    def make(method=TinyScratch):
        keras.utils.set_random_seed(0)
        strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
        made = method(config)
        with strategy.scope():
            networks = made.build((), DataSpec(CLASS_NAMES, 8))
        return Session(config, strategy, made, networks, images, None, ())

    return make


def test_the_class_map_comes_first_and_the_config_last_if_asked_for(make_session):
    parts = list(estimate.dry_run(make_session(), with_config=True))
    assert parts[0].splitlines() == [
        "class map of 3 new classes:",
        *(f"  {name} -> 4 images, label {i}" for i, name in enumerate(CLASS_NAMES)),
    ]
    assert parts[1].startswith("estimate:") and parts[2].startswith("computed by:")
    assert '"steps": 4' in parts[3]


def test_memory_is_counted(make_session):
    session = make_session()
    text = estimate.estimate(session)
    networks = session.networks.named.values()
    variables = [v for network in networks for v in network.variables]
    trained = [v for network in networks for v in network.trainable_variables]
    held = re.search(
        r"memory: ([\d.]+) MB of parameters.*, ([\d.]+) MB of optimiser state, ([\d.]+) MB of EMA, "
        r"([\d.]+) MB of images",
        text,
    )
    sizes = [
        4 * sum(np.prod(v.shape) for v in variables),
        2 * 4 * sum(np.prod(v.shape) for v in trained),  # Two moments.
        4 * sum(np.prod(v.shape) for v in session.networks.generator.variables),
        12 * 8 * 8 * 3,
    ]
    assert [float(part) for part in held.groups()] == pytest.approx(np.array(sizes) / 1e6, abs=0.06)
    assert re.search(r"activations and gradients: [\d.]+ [GM]B of this process", text)


def test_each_stage_is_timed_with_what_it_begins_with(make_session, monkeypatch):
    monkeypatch.setattr(estimate, "_SECONDS", 0.0)
    session = make_session(Staged)
    text = estimate.estimate(session)
    assert re.search(r"time of stage begin: 3 steps of .* \(from 3 timed steps\)", text)
    # Whole turns of the phase that is not run in every step.
    assert re.search(r"time of stage go_on: 100 steps of .* \(from 8 timed steps\)", text)
    assert "skipped" not in text
    assert session.method.began == 1


def test_the_total_is_the_first_step_and_the_others():
    found = estimate.StageTime("train", steps=101, first=20.0, each=0.5, timed=4)
    assert str(found) == "101 steps of 0.5 s, 20 s until the first: 70 s (from 4 timed steps)"


def test_what_takes_longer_than_the_steps_is_not_waited_for(make_session):
    text = estimate.estimate(make_session(Inverting))
    assert "time: not measured, since the method first inverts the training images" in text
    assert "MB of parameters" in text and "optimiser" not in text
