"""The tools that measure inversions and drift, as commands."""

import re

import pytest
from in_process import run_tool


@pytest.mark.slow
def test_the_curve_has_a_line_for_each_number_of_steps():
    ended = run_tool("inversion_curve", "--images=3", "--steps=1,20", "--heldout")
    lines = ended.stdout.splitlines()
    assert lines[0].startswith("3 images of bundled:glyphs/target, split test")
    rows = [re.findall(r"[\d.]+", line) for line in lines[2:]]
    assert [row[0] for row in rows] == ["1", "20"]
    means = [float(row[1]) for row in rows]
    assert means[1] < means[0] < 2


def test_drift_needs_runs_and_a_source(tmp_path):
    ended = run_tool("d_drift", tmp_path, check=False)
    assert ended.returncode == 2 and "expected --source=handle" in ended.stderr
    ended = run_tool("d_drift", "--source=bundled:glyphs32", check=False)
    assert ended.returncode == 2 and "expected directories of runs, got none" in ended.stderr
