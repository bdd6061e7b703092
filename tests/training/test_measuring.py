"""Metrics that are computed while training goes on, and what they must not change."""

import time

import pytest
import tensorflow as tf
from tiny_scratch import QuickScratch, TinyScratch

from cgt_tf.errors import InputError
from cgt_tf.training.stopping import StoppedError, StopSignals

FIDS = [9.0, 5.0, 6.0, 4.0, 4.5, 4.0, 1.0, 1.0, 1.0]


@pytest.fixture
def config(config):
    config.training.steps = 8
    config.training.checkpoint_every = 0
    config.evaluation.every = 1
    return config


def scored_run(make_run, config, how, fids=FIDS, after=0, seconds=20.0, method=QuickScratch):
    """A run whose metrics are ready `after` steps later at the earliest, if the run makes them."""
    config.evaluation.background = how
    run = make_run(config, how, method=method)
    run.waited = []

    def begin(extended):
        step = int(run.state.step.numpy())

        def measure():
            last = min(step + after, config.training.steps)
            end = time.monotonic() + seconds
            while int(run.state.step.numpy()) < last and time.monotonic() < end:
                time.sleep(0.002)
            run.waited.append(int(run.state.step.numpy()) - step)
            return {"fid": fids[step]}

        return measure

    run.evaluate = begin
    return run


def scores_of(run):
    return [(r["step"], r["fid"], r.get("d_gap")) for r in run.run.read_stats() if "fid" in r]


def test_what_comes_out_is_the_same_beside_the_steps(make_run, config):
    """Scores in their order with D's gap before each, the best one, the checkpoints kept."""
    config.evaluation.every = 3
    at_once = scored_run(make_run, config, "off", method=TinyScratch)
    beside = scored_run(make_run, config, "on", after=2, method=TinyScratch)
    for run in (at_once, beside):
        run.train()
    gaps = {step: gap for step, _, gap in scores_of(beside)}
    assert list(gaps) == [0, 3, 6, 8] and None not in list(gaps.values())[1:]
    assert scores_of(at_once) == scores_of(beside)
    assert at_once.state.best_score == beside.state.best_score == 1.0
    assert at_once.run.saved_steps() == beside.run.saved_steps()


def test_steps_are_made_while_metrics_are_computed(make_run, config):
    """A score is written with the first log line after it is ready, the last one at the end."""
    config.evaluation.every = 4
    run = scored_run(make_run, config, "on", after=2)
    run.train()
    # Of steps 0, 4 and 8; none follows the last.
    assert run.waited == [pytest.approx(2, abs=1), pytest.approx(2, abs=1), 0]
    lines = [(r["step"], "fid" in r) for r in run.run.read_stats()]
    # Steps that were logged before the score of step 4.
    between = lines[lines.index((4, False)) + 1 : lines.index((4, True))]
    assert between in [[(5, False), (6, False)], [(5, False), (6, False), (7, False)]]


def test_they_are_waited_for_without_a_thread(make_run, config):
    config.training.steps, config.evaluation.every = 1, 1
    run = scored_run(make_run, config, "off", after=1, seconds=0.1)
    run.train()
    assert run.waited == [0, 0]


def test_early_stop_is_an_evaluation_later_however_long_they_take(make_run, config):
    """The best step is 3, and that steps 4 and 5 are no better is known at step 6."""
    config.training.early_stop = 2
    for after in (0, 1):
        fids = [9, 5, 6, 4, 4.5, 4, 4, 4, 4]
        # Behind the last score no step is made, so that it waits for nothing.
        run = scored_run(make_run, config, "on", fids=fids, after=after, seconds=0.3)
        run.train()
        assert run.run.saved_steps()[-1] == 6
        assert [step for step, _, _ in scores_of(run)] == list(range(7))
        again = scored_run(make_run, config, "on")
        assert int(again.train().step.numpy()) == 6 and again.waited == []
        assert again.state.early_stop.stale == 3
        tf.io.gfile.rmtree(str(run.run.path))


def test_a_signal_waits_for_the_score(make_run, config):
    """Which then is kept with the checkpoint."""

    class AtFive(StopSignals):
        def agreed(self, strategy, logged):
            return 15 if int(run.state.step.numpy()) == 5 else 0

    config.evaluation.every = 4
    run = scored_run(make_run, config, "on", after=4, seconds=0.5)
    with pytest.raises(StoppedError):
        run.train(AtFive())
    assert [step for step, _, _ in scores_of(run)] == [0, 4]
    assert run.run.saved_steps() == [0, 4, 5]


def test_an_error_is_not_lost_in_the_thread(make_run, config):
    run = scored_run(make_run, config, "on")

    def measure():
        raise InputError("expected at least 2 images")

    run.evaluate = lambda extended: measure
    with pytest.raises(InputError, match="at least 2 images"):
        run.train()


@pytest.mark.parametrize(
    ("how", "device", "beside"),
    [("auto", "/device:CPU:0", False), ("auto", "/device:GPU:1", True), ("off", "/GPU:0", False)],
)
def test_by_default_only_a_gpu_leaves_the_cpu_to_metrics(make_run, config, how, device, beside):
    config.evaluation.background = how
    run = make_run(config)
    run.strategy = tf.distribute.OneDeviceStrategy(device)
    assert run._beside is beside
