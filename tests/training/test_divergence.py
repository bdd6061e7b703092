"""A run whose losses or weights leave the finite numbers: nothing of it is kept."""

import numpy as np
import pytest
import tensorflow as tf

from cgt_tf.errors import InputError
from cgt_tf.formats.native import read_model, save_model
from cgt_tf.training import step as steps
from cgt_tf.training.hooks import DivergedError


@pytest.fixture
def poison(monkeypatch):
    """Has a weight become infinite in some steps of the process, counted from 1."""
    done = [0]

    def at(variable, *numbers):
        call = steps.StageStep.__call__

        def stepped(self, batches, steps):
            scalars = call(self, batches, steps)
            done[0] += 1
            if done[0] in numbers:
                variable.assign(tf.fill(variable.shape, np.inf))
            return scalars

        monkeypatch.setattr(steps.StageStep, "__call__", stepped)

    return at


def test_infinite_weights_are_not_saved(make_run, config, poison):
    """Losses of the step were finite: they are of the weights before it."""
    run = make_run(config)
    poison(run.networks.generator.output_conv.bias, 4)
    with pytest.raises(DivergedError) as error:
        run.train()
    assert "generator output_conv/bias is not finite at step 4" in str(error.value)
    assert "step 2 is the last sound" in str(error.value)
    assert run.run.saved_steps() == [0, 2]


def test_a_diverged_run_goes_on_with_half_the_rate(make_run, config, poison):
    config.training.on_divergence = "reduce_lr"
    run = make_run(config)
    poison(run.networks.generator.output_conv.bias, 3)
    state = run.train()
    # Step 4 has found it, and both are made again from the checkpoint of step 2.
    records = run.run.read_stats()
    assert [r["step"] for r in records] == [1, 2, 2, 3, 4]
    assert records[2]["rate_scale"] == 0.5 and "at step 4" in records[2]["diverged"]
    assert int(state.step) == 4 and run.run.saved_steps() == [2, 4]
    rates = state.optimizers["generator"].learning_rates().values()
    np.testing.assert_allclose(list(rates), config.generator.learning_rate / 2, rtol=1e-6)
    again = make_run(config)
    again.train()
    assert float(again.state.rate_scale) == 0.5


@pytest.mark.slow
def test_the_rate_scales_each_update(make_run, config):
    moved = []
    for scale in (1.0, 0.25):
        run = make_run(config, f"run_{scale}")
        run.state.rate_scale.assign(scale)
        kernel = run.networks.discriminator.linear.kernel
        before = kernel.numpy()
        step, batches = run.make_step(), run.batches(run.spans[0], 0)
        step(batches)
        moved.append(kernel.numpy() - before)
    np.testing.assert_allclose(moved[1], moved[0] / 4, rtol=1e-3, atol=1e-9)


@pytest.mark.slow
def test_it_gives_up_after_three_times(make_run, config, poison):
    config.training.on_divergence = "reduce_lr"
    run = make_run(config)
    poison(run.networks.generator.output_conv.bias, *range(1, 99))
    with pytest.raises(DivergedError, match="step 0 is the last sound"):
        run.train()
    scales = [r["rate_scale"] for r in run.run.read_stats() if "rate_scale" in r]
    assert scales == [0.5, 0.25, 0.125]
    assert run.run.saved_steps() == [0]


def test_no_model_is_written_or_read_with_infinite_weights(make_run, config, tmp_path):
    run = make_run(config)
    gan = run.networks.gan()
    save_model(gan, tmp_path / "sound", {})
    arrays = dict(np.load(tmp_path / "sound" / "generator.npz"))
    arrays["linear/bias"][0] = np.nan
    np.savez(tmp_path / "sound" / "generator.npz", **arrays)
    with pytest.raises(InputError, match=r"expected finite values .*, linear/bias has others"):
        read_model(tmp_path / "sound")
    gan.generator.linear.bias.assign(arrays["linear/bias"])
    with pytest.raises(InputError, match=r"finite values .*, generator linear/bias has others"):
        save_model(gan, tmp_path / "new", {})
    assert not (tmp_path / "new").exists()
