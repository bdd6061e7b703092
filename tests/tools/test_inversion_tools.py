"""The tools that measure inversions and drift, as commands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


def run(tool, *arguments):
    command = [sys.executable, str(TOOLS / tool), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_curve_has_a_line_for_each_number_of_steps():
    ended = run("inversion_curve.py", "--images=3", "--steps=1,20", "--heldout")
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[0].startswith("3 images of bundled:glyphs/target, split test")
    rows = [re.findall(r"[\d.]+", line) for line in lines[2:]]
    assert [row[0] for row in rows] == ["1", "20"]
    means = [float(row[1]) for row in rows]
    assert means[1] < means[0] < 2


def test_drift_needs_runs_and_a_source(tmp_path):
    ended = run("d_drift.py", str(tmp_path))
    assert ended.returncode == 2 and "expected --source=handle" in ended.stderr
    ended = run("d_drift.py", "--source=bundled:glyphs32")
    assert ended.returncode == 2 and "expected directories of runs, got none" in ended.stderr
