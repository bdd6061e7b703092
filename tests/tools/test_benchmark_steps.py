"""The benchmark of steps: its arithmetic, and a whole small run."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

TOOLS = Path(__file__).parents[2] / "tools"
sys.path.insert(0, str(TOOLS))

import benchmark_steps  # noqa: E402


def contestant(times, **facts):
    figures = {"milliseconds": times, "peak_gb": [0.5, 0.75, 0.625]}
    return SimpleNamespace(facts=facts, figures=figures.__getitem__)


def test_ratios_are_of_the_same_turn_and_the_share_is_of_the_peak():
    first = contestant([100.0, 400.0, 100.0])
    second = contestant([50.0, 200.0, 200.0], precision="bfloat16", gmac_per_step=4.0)
    found = benchmark_steps.row(second, first, {"float32": 10.0, "bfloat16": 200.0})
    assert found == {
        "milliseconds": 200.0,
        "fastest_turn": 50.0,
        "times_faster": 2.0,
        "peak_gb": 0.75,
        "precision": "bfloat16",
        "gmac_per_step": 4.0,
        "share_of_peak": 0.1,  # 20 GMAC a second
    }
    assert "share_of_peak" not in benchmark_steps.row(first, first, {})


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
        assert 0 < row["seconds_to_trace"] < row["seconds_to_first_step"]
