"""Trains methods with several seeds on one setting; `comparison_report.py` makes tables of it.

  python tools/compare_methods.py --output=runs/comparison/methods --seeds=0,1,2 \
    --flagfiles=configs/glyphs_20x100.flags,configs/glyphs_bsa_adv.flags
  python tools/compare_methods.py --output=runs/comparison/settings --seeds=0 --suffix=_lr_3e-3 \
    --flagfiles=configs/glyphs_bsa_adv.flags -- --config.generator.learning_rate=3e-3

Each run is a cgt-train of its own in <output>/<flagfile's name><suffix>/seed_<n>, with the
arguments after `--` added. A run that was stopped goes on, one that is finished is not repeated.
`--keep=<dir>` copies config.json and stats.jsonl of each finished run there, by the same names, and
`--sheet=<step>` draws the samples of that step of each flagfile's first seed side by side.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from absl import app, flags
from PIL import Image, ImageDraw

_OUTPUT = flags.DEFINE_string("output", None, "Directory of all runs.", required=True)
_FLAGFILES = flags.DEFINE_list("flagfiles", [], "One a method.")
_SEEDS = flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds of each.")
_SUFFIX = flags.DEFINE_string("suffix", "", "Added to the names of the runs.")
_KEEP = flags.DEFINE_string("keep", None, "Where to copy configs and statistics to.")
_SHEET = flags.DEFINE_integer("sheet", None, "Step of the sample sheet to draw there.")

# Of the sheet: pixels of sample grids, which have eight columns of 32x32, that are shown.
_SHOWN = (256, 192)
_CAPTION = 14


def train(flagfile: Path, seed: str, arguments: list[str]) -> None:
    """One run, resumed where it stopped; its output goes to a log beside it."""
    workdir = Path(_OUTPUT.value) / f"{flagfile.stem}{_SUFFIX.value}" / f"seed_{seed}"
    workdir.parent.mkdir(parents=True, exist_ok=True)
    done = workdir.with_name(f"seed_{seed}.done")
    if done.exists():
        return
    command = [sys.executable, "-m", "cgt_tf.cli.train", f"--flagfile={flagfile}"]
    command += [f"--config.seed={seed}", f"--workdir={workdir}", *arguments]
    print(" ".join(command[2:]), flush=True)
    with workdir.with_name(f"seed_{seed}.log").open("a", encoding="utf-8") as log:
        subprocess.run(command, check=True, stdout=log, stderr=subprocess.STDOUT)
    done.touch()


def keep(output: Path, target: Path) -> None:
    """Copies what the report needs of every finished run."""
    for done in sorted(output.glob("*/seed_*.done")):
        run = done.with_suffix("")
        kept = target / run.relative_to(output)
        kept.mkdir(parents=True, exist_ok=True)
        for name in ("config.json", "stats.jsonl"):
            shutil.copyfile(run / name, kept / name)


def draw_sheet(grids: dict[str, Path], path: Path) -> None:
    """The upper rows of sample grids with their names above, three in a row."""
    width, height = _SHOWN[0] + 6, _SHOWN[1] + _CAPTION + 4
    rows = -(-len(grids) // 3)
    sheet = Image.new("RGB", (3 * width, rows * height), "white")
    caption = ImageDraw.Draw(sheet)
    for i, (name, grid) in enumerate(grids.items()):
        x, y = i % 3 * width, i // 3 * height
        caption.text((x + 2, y), name, fill="black")
        sheet.paste(Image.open(grid).crop((0, 0, *_SHOWN)), (x, y + _CAPTION))
    sheet.save(path)


def main(argv):
    # Seed by seed, so that a comparison that is stopped early is still one of all methods.
    for seed in _SEEDS.value:
        for flagfile in map(Path, _FLAGFILES.value):
            train(flagfile, seed, argv[1:])
    if _KEEP.value:
        output, target = Path(_OUTPUT.value), Path(_KEEP.value)
        keep(output, target)
        if _SHEET.value is not None:
            run = f"seed_{_SEEDS.value[0]}/samples/step_{_SHEET.value:06d}.png"
            stems = [Path(flagfile).stem for flagfile in _FLAGFILES.value]
            grids = {stem: output / f"{stem}{_SUFFIX.value}" / run for stem in stems}
            draw_sheet(grids, target.parent / f"samples_{_SHEET.value}.png")


if __name__ == "__main__":
    app.run(main)
