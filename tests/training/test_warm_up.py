"""Warm-up: the discriminator alone learns, once, before the first step."""

import numpy as np
from keras import ops


def values(network):
    return [ops.convert_to_numpy(v) for v in network.variables]


def test_only_the_discriminator_changes(make_run, config):
    config.discriminator.warmup_steps = 3
    config.training.accumulation = 2
    run = make_run(config)
    networks = (run.gan.generator, run.gan.discriminator)
    generator, discriminator = map(values, networks)
    run._warm_up(run.make_step())
    for before, after in zip(generator, values(run.gan.generator), strict=True):
        np.testing.assert_array_equal(before, after)
    changed = [
        not np.array_equal(before, after)
        for before, after in zip(discriminator, values(run.gan.discriminator), strict=True)
    ]
    assert all(changed)
    assert int(run.state.discriminator_optimizer.iterations.numpy()) == 3
    assert int(run.state.step.numpy()) == 0
    records = run.run.read_stats()
    assert [r["warmup_step"] for r in records] == [1, 2, 3]
    assert len({r["d_fake"] for r in records}) == 3


def test_a_resumed_run_does_not_warm_up_again(make_run, config):
    config.discriminator.warmup_steps = 2
    config.training.steps = 2
    make_run(config).train()
    again = make_run(config)
    again.train()
    iterations = int(again.state.discriminator_optimizer.iterations.numpy())
    assert iterations == 2 + 2
    assert [r.get("warmup_step") for r in again.run.read_stats()] == [1, 2, None, None]


def test_an_interrupted_warm_up_starts_over_and_ends_the_same(make_run, config):
    config.discriminator.warmup_steps = 2
    config.training.steps = 1
    straight = make_run(config, "straight")
    straight.train()
    stopped = make_run(config, "stopped")
    stopped._warm_up(stopped.make_step())
    again = make_run(config, "stopped")
    again.train()
    for a, b in zip(
        values(straight.gan.discriminator), values(again.gan.discriminator), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert len(again.run.read_stats()) == len(straight.run.read_stats())
