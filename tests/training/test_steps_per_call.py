"""Steps that one call makes: as many as nothing else is due, and the numbers of single ones."""

import os
import signal

import pytest
import tensorflow as tf

from cgt_tf.training import loop
from cgt_tf.training import step as steps
from cgt_tf.training.board import Board
from cgt_tf.training.hooks import DivergedError, StepLog
from cgt_tf.training.stopping import StoppedError, StopSignals

pytestmark = pytest.mark.usefixtures("graphs")


@pytest.fixture
def calls(monkeypatch):
    """Steps of each call of the process; `calls.after` is run after each."""
    call = steps.StageStep.__call__

    class Calls(list):
        def after(self):
            pass

    made = Calls()

    def stepped(self, batches, steps):
        made.append(steps)
        scalars = call(self, batches, steps)
        made.after()
        return scalars

    monkeypatch.setattr(steps.StageStep, "__call__", stepped)
    return made


@pytest.fixture
def untimed(monkeypatch):
    """Calls make as many steps as they may, however slow the machine is."""
    monkeypatch.setattr(loop, "steps_in_time", lambda seconds, most: most)


def test_calls_end_where_something_is_due_and_change_no_number(
    make_run, config, calls, untimed, assert_ends_alike
):
    config.training.steps, config.training.log_every = 9, 5
    config.training.checkpoint_every = 4
    config.evaluation.every = 0
    runs = {}
    for most, expected in {1: [1] * 9, 3: [3, 1, 1, 3, 1], 100: [4, 1, 3, 1]}.items():
        config.training.steps_per_call = most
        runs[most] = make_run(config, f"run_{most}")
        runs[most].train()
        assert calls == expected
        calls.clear()
    for most in (3, 100):
        assert_ends_alike(runs[1].run, runs[most].run, 9)


def test_a_signal_is_answered_at_the_end_of_the_call(make_run, config, calls, untimed):
    config.training.steps, config.training.log_every = 7, 100
    config.training.checkpoint_every = config.evaluation.every = 0
    config.training.steps_per_call = 3
    run = make_run(config)
    calls.after = lambda: os.kill(os.getpid(), signal.SIGTERM)
    with StopSignals() as signals, pytest.raises(StoppedError, match="at step 3, which is saved"):
        run.train(signals)
    assert run.run.saved_steps() == [3] and calls == [3]


def test_a_non_finite_step_within_a_call_is_the_one_that_is_named(make_run, config):
    run = make_run(config).run
    log = StepLog(run, Board(run.events), None)
    log.add(3, {"loss": tf.constant([1.0, 2.0])})
    log.add(5, {"loss": tf.constant([3.0, float("inf"), float("nan")])})
    with pytest.raises(DivergedError, match="loss is inf at step 6"):
        log.flush()


def test_calls_take_a_second_where_steps_are_slow():
    assert loop.steps_in_time(None, 10) == 1
    assert loop.steps_in_time(0.3, 10) == 3
    assert loop.steps_in_time(5.0, 10) == 1
    assert loop.steps_in_time(1e-3, 10) == 10
    assert loop.steps_in_time(1e-3, 1) == 1


def test_a_stage_begins_with_single_steps_until_they_are_timed(
    make_run, config, calls, monkeypatch
):
    config.training.steps, config.training.log_every = 8, 3
    config.training.checkpoint_every = config.evaluation.every = 0
    monkeypatch.setattr(loop, "_SECONDS_PER_CALL", 1e3)
    make_run(config).train()
    assert calls == [1, 1, 1, 3, 2]
