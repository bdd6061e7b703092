"""The benchmark of steps: its arithmetic, and a whole small run."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import tensorflow as tf

TOOLS = Path(__file__).parents[2] / "tools"
sys.path.insert(0, str(TOOLS))

import benchmark_steps  # noqa: E402
import convolution_times  # noqa: E402
from convolution_times import Convolutions  # noqa: E402


def contestant(times, alone=(), **facts):
    figures = {"milliseconds": times, "peak_gb": [0.5, 0.75, 0.625]}
    if alone:
        figures["convolutions_alone"] = alone
    answers = [dict.fromkeys(figures)]
    return SimpleNamespace(facts=facts, answers=answers, figures=figures.__getitem__)


def test_ratios_are_of_the_same_turn_and_the_share_is_of_the_peak():
    first = contestant([100.0, 400.0, 100.0])
    facts = {"precision": "bfloat16", "gmac_per_step": 4.0}
    second = contestant([50.0, 200.0, 200.0], [40.0, 90.0, 80.0], **facts)
    found = benchmark_steps.row(second, first, {"float32": 10.0, "bfloat16": 200.0})
    assert found == {
        "milliseconds": 200.0,
        "fastest_turn": 50.0,
        "times_faster": 2.0,
        "peak_gb": 0.75,
        "precision": "bfloat16",
        "gmac_per_step": 4.0,
        "convolutions_alone": 80.0,
        "share_of_peak": 0.1,  # 20 GMAC a second
    }
    plain = benchmark_steps.row(first, first, {})
    assert not {"share_of_peak", "convolutions_alone"} & plain.keys()


def test_every_convolution_of_a_call_is_timed(monkeypatch):
    """Three forward, of which two are alike and one is in a loop, and three gradients."""
    kernels = [tf.Variable(tf.ones(shape)) for shape in ((3, 3, 3, 3), (3, 3, 3, 3), (1, 1, 3, 5))]

    @tf.function(autograph=False)
    def step(x):
        with tf.GradientTape() as tape:
            y = tf.nn.conv2d(tf.nn.conv2d(x, kernels[0], 1, "SAME"), kernels[1], 1, "SAME")
        gradients = tape.gradient(y, kernels[:2])

        def body(i, total):
            return i + 1, total + tf.reduce_sum(tf.nn.conv2d(x, kernels[2], 2, "VALID"))

        return y, gradients, tf.while_loop(lambda i, _: i < 3, body, (0, 0.0))[1]

    found = Convolutions(step.get_concrete_function(tf.TensorSpec((2, 8, 8, 3))))
    ran = []
    monkeypatch.setattr(convolution_times, "_seconds", lambda call: ran.append(call()) or 0.001)
    # Of the first convolution there is no gradient with respect to its input.
    assert found.milliseconds(repeats=2) == pytest.approx(6.0)
    assert len(ran) == 2 * 4


@pytest.mark.slow
def test_a_run_times_every_contestant(tmp_path):
    output = tmp_path / "steps.json"
    command = [sys.executable, str(TOOLS / "benchmark_steps.py"), f"--output={output}"]
    command += ["--cases=32x4x1", "--steps_per_call=1,2", "--precisions=float32,bfloat16"]
    command += ["--batch_size=4", "--old_classes=5", "--new_classes=2", "--turns=1", "--steps=2"]
    subprocess.run(command, check=True, capture_output=True)
    record = json.loads(output.read_text(encoding="utf-8"))
    names = [f"32x4x1, {p}, calls of {k}" for p in ("float32", "bfloat16") for k in (1, 2)]
    assert list(record["milliseconds"]) == list(record["rows"]) == names
    assert set(record["peak_gmac_per_second"]) == {"float32", "bfloat16"}
    for row in record["rows"].values():
        assert row["gmac_per_step"] == pytest.approx(4 * row["gmac_per_image"], abs=1e-3)
        assert 0 < row["share_of_peak"] < 1 and row["peak_gb"] > 0.1
        assert row["convolutions_alone"] > 0
        assert 0 < row["seconds_to_trace"] < row["seconds_to_first_step"]
