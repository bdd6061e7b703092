"""The report of a comparison: its numbers are those of the runs' statistics."""

import json
import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).parents[2] / "tools" / "comparison_report.py"
CURVES = {  # FID at steps 0, 100, 200, 300
    ("glyphs_bsa_adv", 0): (900, 400, 90, 40),
    ("glyphs_bsa_adv", 1): (900, 500, 80, 45),
    ("glyphs_20x100", 0): (800, 39, 38, 41),
    ("glyphs_20x100", 1): (800, 150, 46, 46),
}


def write_runs(directory):
    for (name, seed), fids in CURVES.items():
        run = directory / "methods" / name / f"seed_{seed}"
        run.mkdir(parents=True)
        records = [{"step": 50, "discriminator_loss": 1.0}]
        for i, fid in enumerate(fids):
            records.append({"step": 100 * i, "fid": fid, "accuracy": i / 10})
        text = "".join(json.dumps(record) + "\n" for record in records)
        (run / "stats.jsonl").write_text(text, encoding="utf-8")
        method = "bsa_adv" if "bsa" in name else "cgan_transfer"
        config = {"config": {"method": {"name": method}}, "commit": "0123456789"}
        config["versions"] = {"tensorflow": "2.0", "keras": "3.0"}
        (run / "config.json").write_text(json.dumps(config), encoding="utf-8")


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_tables_hold_what_the_runs_say(tmp_path):
    write_runs(tmp_path)
    times = {"milliseconds": {"glyphs_bsa_adv": 50.0, "glyphs_20x100": 100.0}, "machine": "here"}
    (tmp_path / "times.json").write_text(json.dumps(times), encoding="utf-8")
    command = [sys.executable, str(TOOL), f"--runs={tmp_path}", "--steps=0,200"]
    command += [f"--step_times={tmp_path / 'times.json'}", "--levels=100"]
    subprocess.run(command, check=True, capture_output=True)
    report = (tmp_path / "comparison.md").read_text(encoding="utf-8")
    assert "4 runs at 0123456; keras 3.0, tensorflow 2.0." in report
    rows = [cells(line) for line in report.splitlines() if line.startswith("|")]
    # Lowest mean of the lowest FIDs first: (38 + 46) / 2 and (40 + 45) / 2.
    assert rows[2][:3] == ["cgan_transfer, `glyphs_20x100`", "2", "800.0 (800.0 to 800.0)"]
    assert rows[2][3] == "42.0 (38.0 to 46.0)"
    assert rows[3][4:] == ["42.5 (40.0 to 45.0)", "300 (300 to 300)", "0.30 (0.30 to 0.30)"]
    # The second reaches 40 at step 100, and 45 never; 100 both times at a step of its own.
    reached = [row[1:] for row in rows if row[0].startswith(("40.0", "45.0", "100"))]
    assert reached == [
        ["0", "300", "100", "3.00", "15", "10", "1.50"],
        ["1", "300", "not reached", "-", "15", "not reached", "-"],
        ["0", "200", "100", "2.00", "10", "10", "1.00"],
        ["1", "200", "200", "1.00", "10", "20", "0.50"],
    ]
    assert "FID 100: 1.50 (1.00 to 2.00)" in report
    assert (tmp_path / "fid.png").stat().st_size > 1000
