"""Writes the tables and the picture of a comparison of methods from the runs' stats.jsonl.

  python tools/comparison_report.py --runs=docs/comparison \
    --step_times=docs/comparison/step_times.json

Each folder of --runs is a table, and holds <name>/seed_<n>/{config.json,stats.jsonl} as
`compare_methods.py --keep` leaves them. In the table `methods`, the steps and seconds are counted
that --method needs to the lowest FID of --reference, seed by seed; seconds are steps times the
milliseconds of a step that `benchmark_steps.py` measured, as the runs' own rates follow the load of
the machine. Writes comparison.md and fid.png into --runs.
"""

import functools
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from absl import app, flags

_RUNS = flags.DEFINE_string("runs", "docs/comparison", "Directory of the tables.")
_REFERENCE = flags.DEFINE_string("reference", "glyphs_bsa_adv", "Whose lowest FID is the target.")
_METHOD = flags.DEFINE_string("method", "glyphs_20x100", "What is to reach it.")
_STEPS = flags.DEFINE_list("steps", ["0", "200", "400", "1000", "2000"], "Columns of FIDs.")
_LEVELS = flags.DEFINE_list("levels", ["200", "100", "50"], "FIDs that are reached, or not.")
_STEP_TIMES = flags.DEFINE_string("step_times", None, "What benchmark_steps.py wrote.")
_METHODS = "methods"


def read_run(directory: Path) -> dict:
    """Arrays `step`, `fid`, `accuracy` of a run's evaluations, and its config.json."""
    lines = (directory / "stats.jsonl").read_text(encoding="utf-8").splitlines()
    scored = [record for record in map(json.loads, lines) if "fid" in record]
    run = {key: np.array([record[key] for record in scored]) for key in ("step", "fid", "accuracy")}
    return {**run, **json.loads((directory / "config.json").read_text(encoding="utf-8"))}


def read_table(directory: Path) -> dict[str, dict[str, dict]]:
    """Runs by name and seed, the name with the lowest mean of its lowest FIDs first."""
    names = {}
    for path in sorted(directory.glob("*/seed_*/stats.jsonl")):
        run = path.parent
        names.setdefault(run.parent.name, {})[run.name.removeprefix("seed_")] = read_run(run)
    best = {name: np.mean([r["fid"].min() for r in runs.values()]) for name, runs in names.items()}
    return {name: names[name] for name in sorted(names, key=best.get)}


def at(run: dict, key: str, step: int) -> float:
    """A score at a step; not a number where there is none."""
    found = run[key][run["step"] == step]
    return float(found[0]) if len(found) else np.nan


def first_below(run: dict, target: float) -> float:
    """Step of the first FID of `target` or less; infinite where there is none."""
    reached = np.flatnonzero(run["fid"] <= target)
    return float(run["step"][reached[0]]) if len(reached) else np.inf


def spread(values, digits: int = 1) -> str:
    """`mean (smallest to largest)`; how many are finite, where not all are."""
    values = np.array(list(values), float)
    finite = values[np.isfinite(values)]
    if len(finite) < len(values):
        return "-" if not len(finite) else f"{len(finite)} of {len(values)}"
    text = f"{finite.mean():.{digits}f}"
    if len(finite) > 1:
        text += f" ({finite.min():.{digits}f} to {finite.max():.{digits}f})"
    return text


def markdown(rows: list[list[str]]) -> str:
    rows = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def scores_table(table: dict) -> str:
    """FID at equal steps, the lowest FID and when it was, accuracy at the end."""
    steps = [int(s) for s in _STEPS.value]
    head = ["run", "seeds", *(f"FID at {s}" for s in steps), "lowest FID", "at step", "accuracy"]
    rows = [head]
    for name, by_seed in table.items():
        runs = list(by_seed.values())
        method = runs[0]["config"]["method"]["name"]
        row = [
            f"{method}, `{name}`",
            str(len(runs)),
            *(spread(at(r, "fid", s) for r in runs) for s in steps),
        ]
        row.append(spread(r["fid"].min() for r in runs))
        row.append(spread((r["step"][r["fid"].argmin()] for r in runs), 0))
        row.append(spread((r["accuracy"][-1] for r in runs), 2))
        rows.append(row)
    return markdown(rows)


def reach_table(table: dict, milliseconds: dict[str, float]) -> str:
    """When --reference and --method reach the former's lowest FID, and some levels, by seed."""
    names = (_REFERENCE.value, _METHOD.value)
    reference, method = (table[name] for name in names)
    seeds = sorted(set(reference) & set(method))
    head = ["FID", "seed", *(f"steps of `{name}`" for name in names), "ratio"]
    head += [f"seconds of `{name}`" for name in names] + ["ratio"] if milliseconds else []
    rows, ratios = [head], {}
    for level in ("lowest", *_LEVELS.value):
        for seed in seeds:
            target = reference[seed]["fid"].min() if level == "lowest" else float(level)
            steps = [first_below(runs[seed], target) for runs in (reference, method)]
            label = f"{target:.1f}, lowest of the first" if level == "lowest" else level
            row = [label, seed, *(_count(s) for s in steps), _ratio(*steps)]
            ratios.setdefault(level, []).append(steps[0] / steps[1] if steps[1] else np.nan)
            if milliseconds:
                seconds = [s * milliseconds[n] / 1e3 for s, n in zip(steps, names, strict=True)]
                row += [*(_count(s) for s in seconds), _ratio(*seconds)]
            rows.append(row)
    means = [f"FID {level}: {spread(values, 2)}" for level, values in ratios.items()]
    return markdown(rows) + f"\nRatio of steps, mean and spread over seeds: {'; '.join(means)}.\n"


def _count(value: float) -> str:
    return f"{value:.0f}" if np.isfinite(value) else "not reached"


def _ratio(first: float, second: float) -> str:
    return f"{first / second:.2f}" if second and np.isfinite([first, second]).all() else "-"


def draw(table: dict, path: Path) -> None:
    """FID against steps: mean of the seeds, and from the lowest to the highest."""
    figure, axes = plt.subplots(figsize=(7, 4.2))
    for by_seed in table.values():
        runs = list(by_seed.values())
        steps = functools.reduce(np.intersect1d, [run["step"] for run in runs])
        fids = np.stack([run["fid"][np.isin(run["step"], steps)] for run in runs])
        (line,) = axes.plot(steps, fids.mean(axis=0), label=runs[0]["config"]["method"]["name"])
        axes.fill_between(steps, fids.min(0), fids.max(0), color=line.get_color(), alpha=0.2)
    axes.set(xlabel="step", ylabel="FID, held-out images", yscale="log")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def provenance(tables: dict) -> str:
    """Commits and versions that the runs were made with."""
    runs = [r for table in tables.values() for seeds in table.values() for r in seeds.values()]
    commits = sorted({str(run["commit"])[:7] for run in runs})
    versions = sorted(
        {f"{k} {run['versions'][k]}" for run in runs for k in ("tensorflow", "keras")}
    )
    return f"{len(runs)} runs at {', '.join(commits)}; {', '.join(versions)}.\n"


def main(argv):
    del argv
    root = Path(_RUNS.value)
    tables = {path.name: read_table(path) for path in sorted(root.iterdir()) if path.is_dir()}
    milliseconds = {}
    parts = ["# Comparison\n", "Made by `tools/comparison_report.py`.", provenance(tables)]
    if _STEP_TIMES.value:
        measured = json.loads(Path(_STEP_TIMES.value).read_text(encoding="utf-8"))
        milliseconds = measured["milliseconds"]
        times = ", ".join(f"`{name}` {value:.1f}" for name, value in milliseconds.items())
        parts.append(f"Milliseconds a step ({measured['machine']}): {times}.\n")
    for name, table in tables.items():
        parts += [f"## {name}\n", scores_table(table)]
        if name == _METHODS:
            parts.append(reach_table(table, milliseconds))
            draw(table, root / "fid.png")
            parts.append("![FID against steps](fid.png)\n")
    (root / "comparison.md").write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    app.run(main)
