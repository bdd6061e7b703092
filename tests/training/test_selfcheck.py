"""The check that a machine trains as one CPU does."""

from cgt_tf.methods.registry import create_config
from cgt_tf.training import selfcheck


def test_one_device_agrees_with_itself():
    config = create_config("scratch")
    config.training.strategy = "one_device"
    lines, agrees = selfcheck.selfcheck(config)
    assert agrees
    assert lines[0] == "strategy: one_device, OneDeviceStrategy, 1 replicas"
    assert "synchronised" in lines[-2] and "agrees with one CPU" in lines[-1]


def test_a_difference_is_found(monkeypatch):
    original = selfcheck._steps
    calls = []

    def steps(config, strategy):
        scalars, statistics = original(config, strategy)
        calls.append(strategy)
        if len(calls) == 1:
            scalars[1]["d_real"] += 0.1
            statistics[0] = statistics[0] + 0.1
        return scalars, statistics

    monkeypatch.setattr(selfcheck, "_steps", steps)
    config = create_config("scratch")
    config.training.strategy = "one_device"
    lines, agrees = selfcheck.selfcheck(config)
    assert not agrees
    assert "NOT those of the whole batch" in lines[-2] and "DIFFERS from one CPU" in lines[-1]
