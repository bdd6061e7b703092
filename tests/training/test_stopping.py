"""SIGTERM and Ctrl-C save the step, and the run goes on from it bit for bit."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from cgt_tf.training import step as steps
from cgt_tf.training.stopping import StoppedError, StopSignals


@pytest.mark.parametrize(
    "signum", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_the_step_is_saved_and_the_run_goes_on(make_run, config, stored, monkeypatch, signum):
    config.training.checkpoint_every = config.evaluation.every = 0
    straight = make_run(config, "straight")
    straight.train()
    stopped = make_run(config, "stopped")
    call, done = steps.StageStep.__call__, []

    def stepped(self, batches, steps):
        done.append(None)
        if len(done) == 3:
            os.kill(os.getpid(), signum)
        return call(self, batches, steps)

    with monkeypatch.context() as patch, StopSignals() as signals:
        patch.setattr(steps.StageStep, "__call__", stepped)
        name = signal.Signals(signum).name
        with pytest.raises(StoppedError, match=f"stopped by {name} at step 3, which is saved"):
            stopped.train(signals)
    assert stopped.run.saved_steps() == [3]
    make_run(config, "stopped").train()
    for name, value in stored(straight.run, 4).items():
        np.testing.assert_array_equal(stored(stopped.run, 4)[name], value, err_msg=name)


def test_a_signal_in_the_last_step_stops_nothing(make_run, config):
    run = make_run(config)
    with StopSignals() as signals:
        signals.received = signal.SIGTERM
        with pytest.raises(StoppedError, match="at step 1"):
            run.train(signals)
    config.training.steps = 1
    run = make_run(config, "short")
    with StopSignals() as signals:
        signals.received = signal.SIGTERM
        assert int(run.train(signals).step) == 1


TWICE = """
import time
from cgt_tf.training.stopping import StopSignals
with StopSignals() as signals:
    print("ready", flush=True)
    while not signals.received:
        time.sleep(0.01)
    print("noted", flush=True)
    time.sleep(60)
"""


def test_the_second_signal_stops_at_once():
    command = [sys.executable, "-c", TWICE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "noted\n"
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == -signal.SIGTERM
        assert time.monotonic() - start < 5
