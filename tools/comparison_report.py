"""Writes the tables and pictures of a comparison of methods from what is kept of its runs.

  python tools/comparison_report.py --runs=docs/comparison

Each folder of --runs is a table, and holds <name>/seed_<n>/{config.json,stats.jsonl} as
`compare_methods.py` leaves them; several draws of classes count as seeds. `report.json` says what
to show of a table, all of it optional:

    {"<table>": {"title": "text", "steps": [columns of FIDs],
                 "fid": [levels], "accuracy": [levels],       when each run first reaches these
                 "pair": ["<name>", "<name>"],                the same of two, seed by seed
                 "also": ["<table>/<name>", ...],             rows of other tables, same seeds
                 "step_times": "<file>.json",                 milliseconds of a step, see below
                 "picture": "<file>.png"}}                    FID against steps

A level counts as reached where the curve crosses it between two evaluations, see
`comparison_curves.py`. Minutes are those of training alone: steps times the milliseconds that the
table's `step_times`, written by `benchmark_steps.py`, have for a name; else by the runs' own images
per second, which follow what else the machine did. Writes comparison.md and pictures into --runs.
"""

import functools
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from absl import app, flags
from comparison_curves import Curves, read_run, read_table

_RUNS = flags.DEFINE_string("runs", "docs/comparison", "Directory of the tables.")
_STEPS = (0, 200, 400, 600)
_MOST_COMMITS = 4  # That are named one by one.
# Scores of the last evaluation: heading, from the curves, digits.
_LAST = {
    "accuracy": (lambda run: run.scores["accuracy"], 2),
    "KID": (lambda run: run.scores["kid"], 2),
    "recall": (lambda run: run.scores["recall"], 2),
    "diversity, real 1": (
        lambda run: run.scores["diversity"] / run.scores["diversity_of_real"],
        2,
    ),
}

Table = dict[str, dict[str, Curves]]


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


def label(name: str, by_seed: dict[str, Curves]) -> str:
    method = next(iter(by_seed.values())).method
    return f"`{name}`" if name == method else f"{method}, `{name}`"


def scores_table(table: Table, steps: list[int], milliseconds: dict[str, float]) -> str:
    """FID at equal steps, the lowest FID and when it was; other scores and minutes at the end."""
    runs = [run for by_seed in table.values() for run in by_seed.values()]
    last = {
        name: entry
        for name, entry in _LAST.items()
        if any(np.isfinite(entry[0](run)[-1]) for run in runs)
    }
    head = ["run", "seeds", *(f"FID at {s}" for s in steps), "lowest FID", "at step", *last]
    rows = [[*head, "minutes"]]
    for name, by_seed in table.items():
        runs = list(by_seed.values())
        diverged = sum(run.diverged for run in runs)
        row = [
            label(name, by_seed),
            f"{len(runs)}, {diverged} diverged" if diverged else str(len(runs)),
            *(spread(run.at("fid", s) for run in runs) for s in steps),
            spread(run.scores["fid"].min() for run in runs),
            spread((run.step[run.scores["fid"].argmin()] for run in runs), 0),
            *(spread((of(run)[-1] for run in runs), digits) for of, digits in last.values()),
            spread(run.minutes_at(run.step[-1], milliseconds.get(name)) for run in runs),
        ]
        rows.append(row)
    return markdown(rows)


def levels_table(table: Table, levels: dict[str, list], milliseconds: dict[str, float]) -> str:
    """Steps and minutes at which each run first comes to fixed FIDs and accuracies."""
    wanted = [(kind, level) for kind, values in levels.items() for level in values]
    titles = [f"{'FID' if kind == 'fid' else kind} {level:g}" for kind, level in wanted]
    rows = [["run", *(part for title in titles for part in (f"steps to {title}", "minutes"))]]
    for name, by_seed in table.items():
        row = [label(name, by_seed)]
        for kind, level in wanted:
            reached = [(run, run.reached(kind, level)) for run in by_seed.values()]
            row.append(spread((step for _, step in reached), 0))
            row.append(
                spread(run.minutes_at(step, milliseconds.get(name)) for run, step in reached)
            )
        rows.append(row)
    return markdown(rows)


def pair_table(
    table: Table, names: list[str], levels: list[float], milliseconds: dict[str, float]
) -> str:
    """When two reach the first one's lowest FID, and some levels, seed by seed."""
    reference, method = (table[name] for name in names)
    head = ["FID", "seed", *(f"steps of `{name}`" for name in names), "ratio"]
    rows = [[*head, *(f"minutes of `{name}`" for name in names), "ratio"]]
    ratios: dict[str, list[float]] = {}
    for level in ("lowest", *levels):
        for seed in sorted(set(reference) & set(method)):
            target = reference[seed].scores["fid"].min() if level == "lowest" else float(level)
            runs = [reference[seed], method[seed]]
            steps = [run.reached("fid", target) for run in runs]
            minutes = [
                run.minutes_at(step, milliseconds.get(name))
                for run, step, name in zip(runs, steps, names, strict=True)
            ]
            first = f"{target:.1f}, lowest of the first" if level == "lowest" else f"{level:g}"
            row = [first, seed, *(_count(s, 0) for s in steps), _ratio(*steps)]
            rows.append([*row, *(_count(m, 2) for m in minutes), _ratio(*minutes)])
            ratio = steps[0] / steps[1] if steps[1] and np.isfinite(steps[0]) else np.nan
            ratios.setdefault(str(level), []).append(ratio)
    means = [f"FID {level}: {spread(values, 2)}" for level, values in ratios.items()]
    return markdown(rows) + f"\nRatio of steps, mean and spread over seeds: {'; '.join(means)}.\n"


def _count(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "not reached"


def _ratio(first: float, second: float) -> str:
    return f"{first / second:.2f}" if second and np.isfinite([first, second]).all() else "-"


def draw(table: Table, path: Path) -> None:
    """FID against steps: mean of the seeds, and from the lowest to the highest."""
    figure, axes = plt.subplots(figsize=(7, 4.2))
    methods = [next(iter(by_seed.values())).method for by_seed in table.values()]
    for (name, by_seed), method in zip(table.items(), methods, strict=True):
        runs = list(by_seed.values())
        steps = functools.reduce(np.intersect1d, [run.step for run in runs])
        fids = np.stack([run.scores["fid"][np.isin(run.step, steps)] for run in runs])
        caption = method if methods.count(method) == 1 else name
        (line,) = axes.plot(steps, fids.mean(axis=0), label=caption)
        axes.fill_between(steps, fids.min(0), fids.max(0), color=line.get_color(), alpha=0.2)
    axes.set(xlabel="step", ylabel="FID, held-out images", yscale="log")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def ordered(table: Table) -> Table:
    """The name with the lowest mean of its lowest FIDs first."""
    best = {n: np.mean([r.scores["fid"].min() for r in runs.values()]) for n, runs in table.items()}
    return {name: table[name] for name in sorted(table, key=best.get)}


def provenance(tables: dict[str, Table]) -> str:
    """Commits and versions that the runs were made with."""
    runs = [r for table in tables.values() for seeds in table.values() for r in seeds.values()]
    commits = sorted({str(run.facts["commit"])[:7] for run in runs})
    versions = sorted(
        {f"{k} {run.facts['versions'][k]}" for run in runs for k in ("tensorflow", "keras")}
    )
    named = ", ".join(commits)
    if len(commits) > _MOST_COMMITS:
        named = f"{len(commits)} commits, each in the run's config.json"
    return f"{len(runs)} runs at {named}; {', '.join(versions)}.\n"


def section(root: Path, name: str, table: Table, shown: dict) -> list[str]:
    """One table's part of comparison.md; draws its picture."""
    table = dict(table)
    measured = _json(root / shown["step_times"]) if "step_times" in shown else {}
    milliseconds = measured.get("milliseconds", {})
    seeds = {seed for runs in table.values() for seed in runs}
    for other in shown.get("also", ()):
        paths = {path.name.removeprefix("seed_"): path for path in (root / other).glob("seed_*")}
        # A comparison may be read before all of it is there.
        if both := sorted(seeds & paths.keys()):
            table[other] = {seed: read_run(paths[seed]) for seed in both}
    table = ordered(table)
    parts = [f"## {shown.get('title', name)}\n"]
    if milliseconds:
        times = ", ".join(f"`{name}` {value:.1f}" for name, value in milliseconds.items())
        parts.append(f"Milliseconds a step ({measured['machine']}): {times}.\n")
    parts.append(scores_table(table, shown.get("steps", _STEPS), milliseconds))
    levels = {kind: shown[kind] for kind in ("fid", "accuracy") if kind in shown}
    if "pair" in shown and set(shown["pair"]) <= set(table):
        parts.append(pair_table(table, shown["pair"], levels.get("fid", []), milliseconds))
    if levels:
        parts.append(levels_table(table, levels, milliseconds))
    if "picture" in shown:
        draw(table, root / shown["picture"])
        parts.append(f"![FID against steps]({shown['picture']})\n")
    return parts


def _json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def main(argv):
    del argv
    root = Path(_RUNS.value)
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    tables = {path.name: table for path in folders if (table := read_table(path))}
    shown = _json(root / "report.json")
    parts = ["# Comparison\n", "Made by `tools/comparison_report.py`.", provenance(tables)]
    for name, table in tables.items():
        parts += section(root, name, table, shown.get(name, {}))
    (root / "comparison.md").write_text("\n".join(parts), encoding="utf-8")


if __name__ == "__main__":
    app.run(main)
