"""Warm-up: a stage before the others in which the discriminator alone learns."""

import numpy as np
import pytest
from keras import ops
from tiny_scratch import TinyScratch

from cgt_tf.networks.weights import variable_name


@pytest.fixture
def warm_up(config):
    config.discriminator.warmup_steps = 3
    config.training.steps = 2
    config.training.accumulation = 2
    return config


def values(network):
    return [ops.convert_to_numpy(v) for v in network.variables]


def test_only_the_discriminator_changes(make_run, warm_up, train_until):
    run = make_run(warm_up, method=TinyScratch)
    assert [(s.stage.name, s.first, s.last) for s in run.spans] == [
        ("warm_up", 0, 3),
        ("scratch", 3, 5),
    ]
    generator, discriminator = map(values, (run.networks.generator, run.networks.discriminator))
    train_until(run, 3)
    shadow = run.state.ema.shadow["generator"]
    for before, variable in zip(generator, run.networks.generator.variables, strict=True):
        np.testing.assert_array_equal(before, variable)
        np.testing.assert_allclose(shadow[variable_name(variable)], before, rtol=1e-6)
    changed = [
        not np.array_equal(before, after)
        for before, after in zip(discriminator, values(run.networks.discriminator), strict=True)
    ]
    assert all(changed)
    assert run.state.optimizers["discriminator"].iterations == 3
    assert run.state.optimizers["generator"].iterations == 0
    assert int(run.state.step.numpy()) == 3
    records = run.run.read_stats()
    assert [(r["stage"], r["step"]) for r in records] == [("warm_up", i) for i in (1, 2, 3)]
    assert len({r["d_fake"] for r in records}) == 3
    assert not any("generator_loss" in r for r in records)


def test_the_discriminators_optimizer_goes_on_in_the_next_stage(make_run, warm_up):
    """And a finished run does not warm up again."""
    warm_up.training.d_steps = 2
    make_run(warm_up).train()
    again = make_run(warm_up)
    state = again.train()
    assert state.optimizers["discriminator"].iterations == 3 + 2 * 2
    assert state.optimizers["generator"].iterations == 2
    stages = [r["stage"] for r in again.run.read_stats()]
    assert stages == ["warm_up"] * 3 + ["scratch"] * 2


@pytest.mark.parametrize("step", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_a_resumed_warm_up_ends_bit_for_bit_the_same(
    make_run, warm_up, train_until, assert_ends_alike, step
):
    """Stopped inside of it, or at its end."""
    straight = make_run(warm_up, "straight")
    straight.train()
    train_until(make_run(warm_up, "stopped"), step)
    again = make_run(warm_up, "stopped")
    again.train()
    assert_ends_alike(straight.run, again.run, 5)


def test_no_samples_and_scores_of_a_generator_that_stands_still(make_run, warm_up):
    warm_up.training.sample_every = warm_up.evaluation.every = 1
    scored = []

    def evaluate(extended, step):
        scored.append(step)
        return {"fid": 1.0}

    run = make_run(warm_up, evaluate=evaluate)
    run.train()
    assert scored == [0, 4, 5]
    names = sorted(path.name for path in run.run.samples.glob("step_*"))
    assert names == [f"step_00000{step}.png" for step in (0, 4, 5)]
