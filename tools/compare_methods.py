"""Trains methods with several seeds on one setting and writes a table of what came out.

  python tools/compare_methods.py --output=runs/comparison --seeds=0,1,2 \
    --flagfiles=configs/glyphs_20x100.flags,configs/glyphs_bsa_adv.flags \
    -- --config.training.steps=200
  python tools/compare_methods.py --output=runs/comparison --table_only

Each run is a cgt-train of its own in <output>/<flagfile's name>/seed_<n>, with the arguments after
`--` added; runs that are finished are not repeated. The table (table.md) has FID at equal steps,
the lowest FID, and when each method first reached the lowest FID of --reference, as mean and spread
(smallest to largest) over the seeds. All comes from the runs' stats.jsonl.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from absl import app, flags

_OUTPUT = flags.DEFINE_string("output", None, "Directory of all runs.", required=True)
_FLAGFILES = flags.DEFINE_list("flagfiles", [], "One a method.")
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds of each.")
_REFERENCE = flags.DEFINE_string("reference", "glyphs_bsa_adv", "Whose lowest FID is the target.")
_TABLE_ONLY = flags.DEFINE_bool("table_only", False, "Train nothing.")


def train(flagfile: Path, seed: str, arguments: list[str]) -> None:
    """One run, resumed where it stopped; its output goes to log.txt beside it."""
    workdir = Path(_OUTPUT.value) / flagfile.stem / f"seed_{seed}"
    workdir.parent.mkdir(parents=True, exist_ok=True)
    if (workdir.parent / f"seed_{seed}.done").exists():
        return
    command = [sys.executable, "-m", "cgt_tf.cli.train", f"--flagfile={flagfile}"]
    command += [f"--config.seed={seed}", f"--workdir={workdir}", *arguments]
    print(" ".join(command[2:]), flush=True)
    with (workdir.parent / f"seed_{seed}.log").open("a", encoding="utf-8") as log:
        subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT)
    (workdir.parent / f"seed_{seed}.done").touch()


def read(method: Path) -> list[dict]:
    """For each finished seed, arrays by step: `steps`, `fid`, `seconds` of training until then."""
    curves = []
    for done in sorted(method.glob("seed_*.done")):
        lines = (done.with_suffix("") / "stats.jsonl").read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        rates = [r["images_per_second"] for r in records if "images_per_second" in r]
        scored = [(r["step"], r["fid"]) for r in records if "fid" in r]
        steps, fid = (np.array(x) for x in zip(*scored, strict=True))
        config = json.loads((done.with_suffix("") / "config.json").read_text(encoding="utf-8"))
        training = config["config"]["training"]
        images = training["batch_size"] * training["accumulation"] * training["d_steps"]
        curves.append({"steps": steps, "fid": fid, "seconds": steps * images / np.median(rates)})
    return curves


def spread(values: list[float], digits: int = 1) -> str:
    """`mean (smallest to largest)`; `-` where a seed has none."""
    if not values or any(not np.isfinite(v) for v in values):
        reached = [v for v in values if np.isfinite(v)]
        return f"{len(reached)} of {len(values)} seeds" if values else "-"
    return f"{np.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def first_below(curve: dict, key: str, target: float) -> float:
    """Step or seconds at the first score of `target` or less; infinite where there is none."""
    reached = np.flatnonzero(curve["fid"] <= target)
    return float(curve[key][reached[0]]) if len(reached) else np.inf


def table(output: Path) -> str:
    """The Markdown table of all finished runs."""
    methods = {d.name: read(d) for d in sorted(output.iterdir()) if d.is_dir()}
    methods = {name: curves for name, curves in methods.items() if curves}
    steps = next(iter(methods.values()))[0]["steps"]
    shown = steps[:: max(1, (len(steps) - 1) // 4)]
    targets = [c["fid"].min() for c in methods.get(_REFERENCE.value, [])]
    target = float(np.mean(targets)) if targets else np.nan
    header = [*("method", "seeds"), *(f"FID at {s}" for s in shown), "lowest FID"]
    header += [f"steps to FID {target:.1f}", "seconds to it"] if targets else []
    rows = [header, ["---"] * len(header)]
    for name, curves in methods.items():
        row = [name, str(len(curves))]
        row += [spread([c["fid"][c["steps"] == s][0] for c in curves]) for s in shown]
        row.append(spread([c["fid"].min() for c in curves]))
        if targets:
            for key in ("steps", "seconds"):
                row.append(spread([first_below(c, key, target) for c in curves], 0))
        rows.append(row)
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def main(argv):
    output = Path(_OUTPUT.value)
    if not _TABLE_ONLY.value:
        # Seed by seed, so that a comparison that is stopped early is still one of all methods.
        for seed in _SEEDS.value:
            for flagfile in map(Path, _FLAGFILES.value):
                train(flagfile, seed, argv[1:])
    text = table(output)
    (output / "table.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    app.run(main)
