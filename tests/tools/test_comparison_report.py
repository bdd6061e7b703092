"""The report of a comparison: its numbers are those of the runs' statistics."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from in_process import run_tool

TOOLS = Path(__file__).parents[2] / "tools"
sys.path.insert(0, str(TOOLS))

import comparison_curves  # noqa: E402

CURVES = {  # FID at steps 0, 100, 200, 300
    ("bsa_adv", 0): (900, 400, 90, 40),
    ("bsa_adv", 1): (900, 500, 80, 45),
    ("cgan_long", 0): (800, 39, 38, 41),
    ("cgan_long", 1): (800, 150, 46, 46),
}
SHOWN = {
    "title": "the methods",
    "steps": [0, 200],
    "fid": [100],
    "accuracy": [0.15, 0.5],
    "pair": ["bsa_adv", "cgan_long"],
    "picture": "curve.png",
}


def write_run(run, records, method="bsa_adv", **training):
    run.mkdir(parents=True)
    text = "".join(json.dumps(record) + "\n" for record in records)
    (run / "stats.jsonl").write_text(text, encoding="utf-8")
    training = {"batch_size": 30, "accumulation": 1, "d_steps": 1, **training}
    config = {"config": {"method": {"name": method}, "training": training}, "commit": "0123456789"}
    config["versions"] = {"tensorflow": "2.0", "keras": "3.0"}
    (run / "config.json").write_text(json.dumps(config), encoding="utf-8")


def write_runs(directory):
    for (name, seed), fids in CURVES.items():
        records = [{"step": 50, "discriminator_loss": 1.0, "images_per_second": 10.0}]
        for i, fid in enumerate(fids):
            records.append({"step": 100 * i, "fid": fid, "accuracy": i / 10})
        records.append({"step": 300, "images_per_second": 10.0})
        method = "bsa_adv" if "bsa" in name else "cgan_transfer"
        write_run(directory / "methods" / name / f"seed_{seed}", records, method)


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def report(root):
    run_tool("comparison_report", f"--runs={root}")
    text = (root / "comparison.md").read_text(encoding="utf-8")
    return text, [cells(line) for line in text.splitlines() if line.startswith("|")]


def crossing(before, after, level):
    return round(100 * np.log(before / level) / np.log(before / after))


def test_more_than_four_commits_are_counted(tmp_path):
    for i in range(5):
        run = tmp_path / "many" / "bsa_adv" / f"seed_{i}"
        write_run(run, [{"step": 0, "fid": 9.0}, {"step": 50, "fid": 8.0}])
        facts = json.loads((run / "config.json").read_text(encoding="utf-8"))
        facts["commit"] = f"{min(i, 3)}123456"
        (run / "config.json").write_text(json.dumps(facts), encoding="utf-8")
    assert "5 runs at 0123456, 1123456, 2123456, 3123456; keras" in report(tmp_path)[0]
    facts["commit"] = "4123456"
    (run / "config.json").write_text(json.dumps(facts), encoding="utf-8")
    assert "5 runs at 5 commits, each in the run's config.json; keras" in report(tmp_path)[0]


def test_tables_hold_what_the_runs_say(tmp_path):
    write_runs(tmp_path)
    times = {"milliseconds": {"bsa_adv": 50.0, "cgan_long": 100.0}, "machine": "here"}
    (tmp_path / "step_times.json").write_text(json.dumps(times), encoding="utf-8")
    shown = {"methods": {**SHOWN, "step_times": "step_times.json"}}
    (tmp_path / "report.json").write_text(json.dumps(shown), encoding="utf-8")
    text, rows = report(tmp_path)
    assert "4 runs at 0123456; keras 3.0, tensorflow 2.0." in text and "## the methods" in text
    # Lowest mean of the lowest FIDs first: (38 + 46) / 2 and (40 + 45) / 2.
    assert rows[2][:3] == ["cgan_transfer, `cgan_long`", "2", "800.0 (800.0 to 800.0)"]
    assert rows[2][3] == "42.0 (38.0 to 46.0)"
    lowest = ["42.5 (40.0 to 45.0)", "300 (300 to 300)", "0.30 (0.30 to 0.30)"]
    assert rows[3][4:] == [*lowest, "0.2 (0.2 to 0.2)"]
    # The second reaches 40 between 0 and 100, and 45 never.
    early, late = crossing(800, 39, 40), crossing(800, 39, 100)
    slow = 100 + crossing(400, 90, 100), 100 + crossing(500, 80, 100)
    second = 100 + crossing(150, 46, 100)
    reached = [row[1:5] for row in rows if row[0].startswith(("40.0", "45.0", "100"))]
    assert [row[:3] for row in reached] == [
        ["0", "300", str(early)],
        ["1", "300", "not reached"],
        ["0", str(slow[0]), str(late)],
        ["1", str(slow[1]), str(second)],
    ]
    assert [float(row[3]) for row in (reached[0], reached[2], reached[3])] == pytest.approx(
        [300 / early, slow[0] / late, slow[1] / second], rel=0.02
    )
    assert reached[1][3] == "-"
    levels = rows[-1]
    assert levels[0] == "`bsa_adv`"
    assert levels[1] == f"{np.mean(slow):.0f} ({min(slow)} to {max(slow)})"
    # 0.15 lies half way from step 100 to 200, and 50 ms a step; 0.5 is never reached.
    assert levels[3:] == ["150 (150 to 150)", "0.1 (0.1 to 0.1)", "-", "-"]
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_columns_are_those_that_the_runs_have(tmp_path):
    scores = {"accuracy": 0.5, "kid": 0.25, "recall": 0.75, "diversity": 6, "diversity_of_real": 8}
    write_run(tmp_path / "photos" / "a" / "seed_1", [{"step": 0, "fid": 9, **scores}])
    write_run(
        tmp_path / "photos" / "b" / "seed_1", [{"step": 0, "fid": 8}, {"step": 200, "fid": 7}]
    )
    (tmp_path / "photos" / "b" / "seed_1" / "diverged.txt").write_text("loss is nan")
    write_run(tmp_path / "photos" / "a" / "seed_2", [{"step": 0, "fid": 9, **scores}])
    write_run(tmp_path / "plain" / "c" / "seed_1", [{"step": 0, "fid": 6, "accuracy": 1}])
    shown = {"plain": {"also": ["photos/a"]}}
    (tmp_path / "report.json").write_text(json.dumps(shown), encoding="utf-8")
    _, rows = report(tmp_path)
    head = ["run", "seeds", *(f"FID at {step}" for step in (0, 200, 400, 600))]
    head += ["lowest FID", "at step", "accuracy", "KID", "recall", "diversity, real 1", "minutes"]
    assert rows[0] == head
    assert rows[2][:4] == ["bsa_adv, `b`", "1, 1 diverged", "8.0", "7.0"]
    assert rows[3][:2] == ["bsa_adv, `a`", "2"]
    means = ["0.50", "0.25", "0.75", "0.75", "0.0"]
    assert rows[3][8:] == [f"{mean} ({mean} to {mean})" for mean in means]
    assert rows[2][8:12] == ["-"] * 4
    assert [row[:2] for row in rows[6:]] == [
        ["bsa_adv, `c`", "1"],
        ["bsa_adv, `photos/a`", "1"],  # Of the same seed.
    ]


def test_levels_are_interpolated_and_a_level_at_the_start_is_at_step_0(tmp_path):
    fids = {0: 100, 50: 400, 100: 25, 150: 60, 200: 10}
    records = [{"step": s, "fid": f, "accuracy": s / 200} for s, f in fids.items()]
    write_run(tmp_path / "run", records)
    run = comparison_curves.read_run(tmp_path / "run")
    assert run.reached("fid", 100) == 0.0
    assert run.reached("fid", 50) == pytest.approx(50 + 50 * 3 / 4)  # 400, 200, 100, 50, 25
    assert run.reached("fid", 25) == 100.0
    assert run.reached("fid", 5) == np.inf and run.minutes_at(np.inf) == np.inf
    assert run.reached("accuracy", 0.3) == pytest.approx(60)
    assert run.reached("accuracy", 0.0) == 0.0
    assert np.isnan(run.at("fid", 70))


def test_minutes_are_those_of_each_stage_without_its_compilation(tmp_path):
    """60 images a step: 1 s in the first stage and 2 s in the second, but for its first record."""
    records = [{"step": step, "fid": 1.0} for step in (0, 90, 120, 240)]
    speeds = {30: ("mine", 60), 60: ("mine", 60), 90: ("mine", 60)}
    speeds |= {120: ("joint", 1), 150: ("joint", 30), 180: ("joint", 30), 240: ("joint", 30)}
    for step, (stage, speed) in speeds.items():
        records.append({"step": step, "stage": stage, "images_per_second": speed})
    write_run(tmp_path / "run", records, batch_size=10, accumulation=3, d_steps=2)
    run = comparison_curves.read_run(tmp_path / "run")
    assert run.minutes == pytest.approx([0, 90 / 60, 150 / 60, 390 / 60])
    assert run.minutes_at(45) == pytest.approx(45 / 60)
    assert run.minutes_at(45, milliseconds=200) == pytest.approx(9 / 60)
