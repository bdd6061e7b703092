"""The loop: resume, schedules, the EMA, non-finite losses."""

import json

import numpy as np
import pytest
import tensorflow as tf
from tiny_scratch import TinyScratch, TinyTransfer

from cgt_tf.errors import InputError
from cgt_tf.layers.spectral import SpectralConv2D
from cgt_tf.methods.phases import Stage
from cgt_tf.networks.weights import variable_name
from cgt_tf.training.hooks import DivergedError


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_a_resumed_run_ends_bit_for_bit_like_an_uninterrupted_one(
    make_run, config, train_until, stored, assert_ends_alike, precision
):
    config.training.precision = precision
    straight = make_run(config, "straight", method=TinyScratch)
    straight.train()
    stopped = make_run(config, "stopped", method=TinyScratch)
    train_until(stopped, 2)
    make_run(config, "stopped", method=TinyScratch).train()
    assert_ends_alike(straight.run, stopped.run, 4)
    earlier, expected = stored(straight.run, 2), stored(straight.run, 4)
    assert any(not np.array_equal(earlier[name], value) for name, value in expected.items())
    steps = [record["step"] for record in stopped.run.read_stats()]
    assert steps == sorted(set(steps))


def test_each_step_makes_the_configured_updates(make_run, config):
    config.training.d_steps = 2
    config.training.accumulation = 2
    config.training.steps = 2
    run = make_run(config)
    state = run.train()
    assert state.optimizers["discriminator"].iterations == 4
    assert state.optimizers["generator"].iterations == 2
    assert int(state.step.numpy()) == 2


@pytest.mark.parametrize("passes", [0, 1, 2])
def test_the_generators_passes_are_its_own(make_run, config, monkeypatch, passes):
    """Losses are means over the images of the network's own update."""
    config.training.accumulation, config.training.generator_accumulation = 3, passes
    config.training.steps, config.training.checkpoint_every = 1, 0
    config.generator.learning_rate = config.discriminator.learning_rate = 0.0
    run = make_run(config, method=TinyScratch)
    run.networks.discriminator.linear.bias.assign([1000.0])  # Next to it all else is small.
    kind, calls = type(run.networks.generator), tf.Variable(0)
    call = kind.call

    def counted(*arguments, **options):
        calls.assign_add(1)
        return call(*arguments, **options)

    monkeypatch.setattr(kind, "call", counted)
    run.train()
    assert int(calls) == 3 + (passes or 3)
    record = run.run.read_stats()[-1]
    assert record["generator_loss"] == pytest.approx(-1000, rel=0.05)
    assert record["d_fake"] == pytest.approx(1000, rel=0.05)


def test_the_last_step_is_saved_whatever_the_schedule(make_run, config):
    config.training.checkpoint_every = config.evaluation.every = 0
    run = make_run(config)
    run.train()
    assert run.run.saved_steps() == [4]


def test_there_are_no_scores_before_the_ramps_end(make_run, config):
    config.training.ramp_end, config.evaluation.every = 3, 1
    for grows, expected in ((True, [3, 4]), (False, [0, 1, 2, 3, 4])):
        config.training.ramp_generator = grows
        run = make_run(config, f"ramp_{grows}", lambda extended, step: {"fid": 1.0})
        run.train()
        assert [r["step"] for r in run.run.read_stats() if "fid" in r] == expected


def test_a_non_finite_loss_names_step_and_tensor(make_run, config):
    config.training.checkpoint_every = 0
    run = make_run(config)
    run.networks.discriminator.linear.bias.assign([np.nan])
    with pytest.raises(DivergedError, match=r"discriminator_loss is nan at step 1; .* none before"):
        run.train()
    assert run.run.saved_steps() == []


def test_scores_choose_the_kept_checkpoints(make_run, config):
    config.training.steps = 8
    config.training.checkpoint_every = 0
    config.evaluation.every = 1
    fids = [9.0, 1.0, 8.0, 2.0, 7.0, 3.0, 6.0, 5.0, 4.0]
    run = make_run(config, evaluate=lambda extended, step: {"fid": fids[step]})
    state = run.train()
    assert run.run.saved_steps() == [1, 3, 5, 7, 8]
    assert run.run.resolve_checkpoint("best") == 1
    assert run.run.resolve_checkpoint("last") == 8
    assert state.best_score == 1.0
    with pytest.raises(InputError, match="best, last or one of"):
        run.run.resolve_checkpoint("6")


def test_another_score_may_choose_the_kept_checkpoints(make_run, config):
    """Here a higher one, while the FIDs say the contrary; a resumed run knows the best."""
    config.training.steps = 8
    config.training.checkpoint_every = 0
    config.evaluation.every = 1
    config.evaluation.metrics, config.evaluation.best = ("fid", "prdc"), "recall"
    recalls = [0.0, 0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 0.4, 0.5]
    run = make_run(
        config, evaluate=lambda extended, step: {"fid": recalls[step], "recall": recalls[step]}
    )
    state = run.train()
    assert run.run.saved_steps() == [1, 3, 5, 7, 8]
    assert run.run.resolve_checkpoint("best") == 1
    assert state.best_score == 0.9
    assert make_run(config).train().best_score == 0.9


def test_evaluation_sees_the_ema_and_leaves_the_weights(make_run, config):
    config.evaluation.every = 4
    seen = {}

    def evaluate(extended, step):
        layer = run.networks.generator.linear
        folded = extended.generator.linear.kernel.numpy()
        np.testing.assert_array_equal(folded, layer.normalized_kernel(False))
        seen[step] = layer.kernel.numpy()
        return {"fid": 1.0}

    run = make_run(config, method=TinyScratch, evaluate=evaluate)
    state = run.train()
    shadow = state.ema.shadow["generator"]["linear/kernel"]
    np.testing.assert_array_equal(seen[4], shadow.numpy())
    assert not np.array_equal(seen[4], run.networks.generator.linear.kernel.numpy())


def test_the_ema_follows_the_weights_until_it_starts(make_run, config):
    config.training.ema_start = 100
    run = make_run(config, method=TinyScratch)
    shadow = run.train().ema.shadow["generator"]
    for variable in run.networks.generator.variables:
        average = shadow[variable_name(variable)]
        np.testing.assert_allclose(average.numpy(), variable.numpy(), atol=1e-7)


class InTwoStages(TinyScratch):
    """Scratch whose generator gets another bias after 3 steps."""

    def stages(self, networks):
        (stage,) = super().stages(networks)
        self.begun = []

        def begin():
            bias = networks.generator.linear.bias
            bias.assign(bias + 5.0)
            self.begun.append(bias.numpy())

        return (
            Stage("first", 3, stage.phases),
            Stage("second", stage.steps, stage.phases, begin=begin),
        )


@pytest.mark.slow
def test_a_run_is_resumed_in_any_stage(make_run, config, train_until, assert_ends_alike):
    straight = make_run(config, "straight", method=InTwoStages)
    straight.train()
    for step, begun in ((3, False), (4, True)):
        stopped = make_run(config, f"stopped_{step}", method=InTwoStages)
        train_until(stopped, step)
        assert len(stopped.method.begun) == begun
        again = make_run(config, f"stopped_{step}", method=InTwoStages)
        again.train()
        assert len(again.method.begun) == (not begun)
        assert_ends_alike(straight.run, again.run, 7)
    records = again.run.read_stats()
    assert [r["stage"] for r in records] == ["first"] * 3 + ["second"] * 4
    assert again.state.optimizers["generator"].iterations == 7
    # After one step, far from the EMA of the first stage.
    average = stopped.state.ema.shadow["generator"]["linear/bias"]
    np.testing.assert_allclose(average, stopped.method.begun[0], atol=1e-2)


def test_runs_of_one_stage_do_not_name_it(make_run, config):
    run = make_run(config)
    run.train()
    assert not any("stage" in record for record in run.run.read_stats())


def test_samples_and_config_are_written(make_run, config):
    config.training.sample_every = 2
    run = make_run(config)
    run.train()
    names = sorted(path.name for path in run.run.samples.iterdir())
    assert names == ["reals.png", "step_000000.png", "step_000002.png", "step_000004.png"]
    record = json.loads((run.run.path / "config.json").read_text(encoding="utf-8"))
    assert record["config"]["seed"] == 3
    assert record["versions"]["tensorflow"] == tf.__version__


def test_resume_refuses_a_changed_config(make_run, config):
    make_run(config)
    config.generator.learning_rate = 5e-5
    with pytest.raises(InputError, match=r"generator.learning_rate was 0.0001, is 5e-05"):
        make_run(config)


def test_a_foreign_directory_is_left_alone(tmp_path, make_run, config):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="to be new or a run"):
        make_run(config)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.tex"]


def test_frozen_kernels_are_held_and_change_nothing(make_run, config, monkeypatch):
    """A transfer of which the generator's convolutions stay; from scratch none is held."""
    config.training.steps = 2
    scratch = make_run(config, "scratch")
    scratch.make_step()
    assert not any(layer.held for layer in scratch.networks.generator.convolutions)

    records = {}
    for held in (True, False):
        run = make_run(config, f"held_{held}", method=TinyTransfer)
        if not held:
            monkeypatch.setattr(SpectralConv2D, "hold", lambda layer: None)
        run.train()
        ups = [block.conv1 for block in run.networks.generator.blocks]
        assert all((layer.held is not None) == held for layer in ups)
        records[held] = [r for r in run.run.read_stats() if "generator_loss" in r]
    for one, other in zip(records[True], records[False], strict=True):
        for name in ("generator_loss", "discriminator_loss"):
            assert one[name] == pytest.approx(other[name], rel=1e-5)
