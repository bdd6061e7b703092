"""Trains the runs of a comparison; `comparison_report.py` makes tables of what it keeps.

  python tools/compare_methods.py --queue=configs/cifar100/comparison.json --commit
  python tools/compare_methods.py --output=runs/methods --keep=docs/comparison/methods \
    --flagfiles=configs/methods/cgan_transfer.flags,configs/methods/bsa_adv.flags --seeds=0,1,2
  python tools/compare_methods.py --output=runs/settings --keep=docs/comparison/settings \
    --flagfiles=configs/methods/bsa_adv.flags --seeds=0 --suffix=_lr_3e-3 \
    -- --config.generator.learning_rate=3e-3

`--queue` names a plan, see `comparison_plan.py`; without it each of the flagfiles is run with each
of the seeds and the arguments after `--`, as `<flagfile's name><suffix>/seed_<n>`. From the root of
the repository, since flagfiles name each other from there.

Each run is a cgt-train of its own in a directory of --output, with its log beside it. A run that
was stopped goes on; config.json and stats.jsonl of a finished one are copied to the same place in
--keep, its checkpoints are removed, and what is in --keep already is not run: the same command goes
on anywhere. --commit commits each copy, and nothing else. --list shows the runs that are left, as
far as they are known, and runs none.
`--sheet=<step>` draws, of each table, what its runs of the first seed or draw sampled at that step,
side by side: samples_<table>_<step>.png in --keep, from --output, so where the runs were made.
"""

import sys
from pathlib import Path

import numpy as np
from absl import app, flags
from comparison_plan import Plan
from comparison_queue import work_off
from PIL import Image

from cgt_tf.errors import InputError
from cgt_tf.pictures import captioned_grid

_QUEUE = flags.DEFINE_string("queue", None, "Plan of the runs, a JSON file.")
_OUTPUT = flags.DEFINE_string("output", "runs/comparison", "Directory of all runs.")
_KEEP = flags.DEFINE_string("keep", "docs/comparison", "Where configs and statistics are kept.")
_COMMIT = flags.DEFINE_bool("commit", False, "Commit what is kept of each run.")
_LIST = flags.DEFINE_bool("list", False, "Print the runs that are left, and run none.")
_KEEP_CHECKPOINTS = flags.DEFINE_bool("keep_checkpoints", False, "Of runs whose copy is kept.")
_FLAGFILES = flags.DEFINE_list("flagfiles", [], "Without a queue: one a method.")
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Without a queue: seeds of each.")
_SUFFIX = flags.DEFINE_string("suffix", "", "Without a queue: added to the names of the runs.")
_SHEET = flags.DEFINE_integer("sheet", None, "Step of the sample sheets to draw.")
_TRAIN = flags.DEFINE_list("train", [sys.executable, "-m", "cgt_tf.cli.train"], "cgt-train.")

# Pixels of a sheet that each sample grid takes; long ones are cut off below.
_SHOWN = (360, 300)


def plan_of_flagfiles(arguments: list[str]) -> Plan:
    """Each flagfile with each seed, in the directories of --output and --keep themselves."""
    files = {f"{Path(name).stem}{_SUFFIX.value}": {"flagfile": name} for name in _FLAGFILES.value}
    table = {"table": "", "seeds": _SEEDS.value, "arguments": arguments, "runs": list(files)}
    return Plan(files, [table])


def draw_sheet(grids: dict[str, Path], path: Path) -> None:
    """The upper rows of sample grids with their names below, three in a row."""
    width = _SHOWN[0]
    shown = []
    for grid in map(Image.open, grids.values()):
        part = Image.new("RGB", _SHOWN, "white")
        part.paste(grid.resize((width, round(grid.height * width / grid.width))))
        shown.append(np.asarray(part))
    captioned_grid(np.stack(shown), list(grids), 3).save(path)


def draw_sheets(plan: Plan, output: Path, kept: Path, step: int) -> None:
    for table in plan.tables:
        seed = (table.get("draws") or table["seeds"])[0]
        wanted = [run for run in plan.runs(kept) if run.table == table["table"]]
        grids = {
            run.name: output / run.path / "samples" / f"step_{step:06d}.png"
            for run in wanted
            if run.seed == seed
        }
        lacking = [path for path in grids.values() if not path.exists()]
        if lacking:
            raise InputError(f"expected samples of step {step} of all runs, got no {lacking[0]}")
        name = "_".join(filter(None, ("samples", table["table"], str(step))))
        draw_sheet(grids, kept / f"{name}.png")


def compare(arguments: list[str]) -> None:
    if bool(_QUEUE.value) == bool(_FLAGFILES.value) or (_QUEUE.value and arguments):
        raise InputError("expected --queue=<plan> alone, or --flagfiles=<one a method>")
    plan = Plan.read(Path(_QUEUE.value)) if _QUEUE.value else plan_of_flagfiles(arguments)
    output, kept = Path(_OUTPUT.value), Path(_KEEP.value)
    if _LIST.value:
        for run in plan.runs(kept):
            if not (kept / run.path).exists():
                print(f"{run.path}: {' '.join(run.arguments)}")
        return
    kept.mkdir(parents=True, exist_ok=True)
    options = {"commit": _COMMIT.value, "keep_checkpoints": _KEEP_CHECKPOINTS.value}
    work_off(plan.runs(kept), output, kept, _TRAIN.value, **options)
    if _SHEET.value is not None:
        draw_sheets(plan, output, kept, _SHEET.value)


def main(argv):
    try:
        compare(argv[1:])
    except (InputError, flags.Error) as error:
        print(f"compare_methods: error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    app.run(main)
