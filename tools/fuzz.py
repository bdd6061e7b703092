"""Damages every kind of file that the commands read, and counts what reading it does.

  python tools/fuzz.py --minutes=10 --seed=0 --output=docs/reliability/fuzz.json

Each case is a fresh copy of good files, one of which has bytes flipped, cut, doubled or replaced,
or a JSON value exchanged. Reading it must give a result, as where the damage does not matter, or an
`InputError` of one line; anything else is printed with its seed, and the exit status is 1. So is
anything that is left over in the directory.
"""

import collections
import dataclasses
import json
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
from absl import app, flags, logging
from PIL import Image

from cgt_tf.data.folders import prepare_folder
from cgt_tf.data.sources import load_images
from cgt_tf.errors import InputError
from cgt_tf.features.loading import load_feature_net
from cgt_tf.formats.biggan_pytorch import write_pth
from cgt_tf.formats.native import save_model
from cgt_tf.methods.registry import config_from_dict, create_config, validate
from cgt_tf.networks.gan import create_gan
from cgt_tf.networks.spec import biggan_spec
from cgt_tf.runs.handles import load_source
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.runs.snapshots import open_snapshot

_MINUTES = flags.DEFINE_float("minutes", 10.0, "How long.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the damages.")
_ONLY = flags.DEFINE_list("only", [], "Kinds of files; default: all.")
_OUTPUT = flags.DEFINE_string("output", None, "JSON file for the counts.")

_VALUES = [
    None,
    True,
    -1,
    0,
    1e308,
    10**30,
    float("nan"),
    "",
    "\0",
    "../..",
    [],
    {},
    [[]],
    "é" * 99,
]
_MODULE = Path(__file__).parents[1] / "tests" / "goldens" / "hub_v1_tiny"
_KERAS = Path(__file__).parents[1] / "cgt_tf" / "assets" / "glyph_classifier.keras"


@dataclasses.dataclass(frozen=True)
class Kind:
    """Files of one kind.

    Attributes:
        make: writes good ones into a directory.
        read: reads them from there, as a command does.
        damaged: patterns of the files that are damaged.
    """

    make: Callable[[Path], None]
    read: Callable[[Path], object]
    damaged: tuple[str, ...]


def gan():
    return create_gan(biggan_spec(32, 2, channels=2), ["ape", "bee"])


def make_photos(directory: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, kind in (("ape", "png"), ("bee", "jpg"), ("cow", "webp"), ("dog", "gif")):
        (directory / "photos" / name).mkdir(parents=True)
        for i in range(2):
            pixels = rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(directory / "photos" / name / f"{i}.{kind}")
    return directory / "photos"


def make_run(directory: Path) -> None:
    run = RunDir(directory / "run")
    run.open(create_config(), ["x", "y"])
    for step in (1, 2):
        state, snapshot = run.new_checkpoint(step)
        state.with_suffix(".index").write_bytes(b"index")
        save_model(gan(), snapshot, {"step": step})
        run.complete_checkpoint(step)
        run.append_stats({"step": step, "fid": 3.0 - step})


def read_run(directory: Path) -> None:
    run = RunDir(directory / "run")
    validate(config_from_dict(run.config()))
    run.scores()
    run.newest_sound()
    open_snapshot(str(run.path))


def make_prepared(directory: Path) -> None:
    photos = make_photos(directory)
    prepare_folder(photos, 8, output_dir=directory / "prepared", progress=False)
    shutil.rmtree(photos)


def make_unsigned(directory: Path) -> None:
    """The same as any TFDS dataset has it, without checksums."""
    make_prepared(directory)
    (directory / "prepared" / "manifest.json").unlink()


def read_prepared(directory: Path) -> None:
    load_images(str(directory / "prepared"), resolution=8)


def make_keras(directory: Path) -> None:
    shutil.copy(_KERAS, directory / "net.keras")


KINDS = {
    "run": Kind(make_run, read_run, ("run/config.json", "run/stats.jsonl")),
    "checkpoint": Kind(make_run, read_run, ("run/checkpoints/**/*",)),
    "model": Kind(
        lambda d: save_model(gan(), d / "model", {}),
        lambda d: load_source(f"model:{d}/model"),
        ("model/*",),
    ),
    "images": Kind(
        make_photos,
        lambda d: load_images(str(d / "photos"), resolution=8, cache_dir=d / "cache"),
        ("photos/*/*",),
    ),
    "prepared": Kind(make_prepared, read_prepared, ("prepared/*",)),
    "tfds": Kind(make_unsigned, read_prepared, ("prepared/*",)),
    "pth": Kind(
        lambda d: write_pth(gan(), d / "pth"),
        lambda d: load_source(f"pth:{d}/pth/G.pth"),
        ("pth/G.pth",),
    ),
    "tfhub": Kind(
        lambda d: shutil.copytree(_MODULE, d / "module"),
        lambda d: load_source(f"tfhub:{d}/module"),
        ("module/saved_model.pb", "module/variables/*"),
    ),
    "keras": Kind(make_keras, lambda d: load_feature_net(str(d / "net.keras")), ("net.keras",)),
}


def damage(path: Path, rng: np.random.Generator) -> str:
    """Changes a file in one way; returns which."""
    data = path.read_bytes()
    if path.suffix in (".json", ".jsonl") and rng.random() < 0.5:
        lines = data.decode().splitlines() if path.suffix == ".jsonl" else [data.decode()]
        number = int(rng.integers(len(lines)))
        values = json.loads(lines[number])
        exchange(values, rng)
        lines[number] = json.dumps(values)
        path.write_text("\n".join(lines) + "\n")
        return "value"
    way = str(rng.choice(["flip", "cut", "double", "zero", "noise", "empty", "gone"]))
    start, stop = sorted(rng.integers(0, len(data) + 1, 2).tolist())
    if way == "flip":
        changed = bytearray(data)
        for _ in range(int(rng.integers(1, 9))):
            changed[rng.integers(len(changed))] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(changed))
    elif way == "gone":
        path.unlink()
    else:
        parts = {"cut": b"", "double": data[start:stop] * 2, "zero": bytes(stop - start)}
        parts |= {"noise": rng.bytes(stop - start), "empty": b""}
        path.write_bytes(b"" if way == "empty" else data[:start] + parts[way] + data[stop:])
    return way


def exchange(values, rng: np.random.Generator) -> None:
    """Replaces a value somewhere in JSON's lists and objects."""
    while True:
        keys = list(values) if isinstance(values, dict) else list(range(len(values)))
        if not keys:
            return
        key = keys[rng.integers(len(keys))]
        if isinstance(values[key], dict | list) and values[key] and rng.random() < 0.8:
            values = values[key]
            continue
        values[key] = _VALUES[rng.integers(len(_VALUES))]
        return


def listed(directory: Path) -> set[str]:
    return {str(p.relative_to(directory)) for p in directory.rglob("*")}


def try_case(kind: Kind, good: Path, seed: int) -> tuple[str, str]:
    """`(outcome, way of damage)`; outcomes: read, refused, defect, leftover."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place) / "case"
        shutil.copytree(good, directory)
        paths = [p for pattern in kind.damaged for p in sorted(directory.glob(pattern))]
        paths = [p for p in paths if p.is_file() and p.stat().st_size]
        way = damage(paths[rng.integers(len(paths))], rng)
        before = listed(directory)
        try:
            kind.read(directory)
            outcome = "read"
        except InputError as error:
            outcome = "refused" if "\n" not in str(error) else "defect"
        except Exception:  # noqa: BLE001 (this is what is looked for)
            traceback.print_exc(limit=-4)
            outcome = "defect"
        left = {p for p in listed(directory) - before if not p.startswith("cache")}
        return ("leftover" if left else outcome), way


def main(argv):
    del argv
    logging.set_verbosity(logging.ERROR)
    names = _ONLY.value or list(KINDS)
    counts = {name: collections.Counter() for name in names}
    with tempfile.TemporaryDirectory() as place:
        for name in names:
            (Path(place) / name).mkdir()
            KINDS[name].make(Path(place) / name)
        seed, end = _SEED.value * 10**9, time.monotonic() + 60 * _MINUTES.value
        while time.monotonic() < end:
            name = names[seed % len(names)]
            outcome, way = try_case(KINDS[name], Path(place) / name, seed)
            counts[name][outcome] += 1
            if outcome in ("defect", "leftover"):
                print(f"{outcome}: {name}, {way}, case {seed}", file=sys.stderr, flush=True)
            seed += 1
    table = {name: dict(sorted(found.items())) for name, found in counts.items()}
    print(json.dumps(table, indent=2))
    if _OUTPUT.value:
        result = {"seed": _SEED.value, "minutes": _MINUTES.value, "counts": table}
        Path(_OUTPUT.value).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return int(any(found["defect"] + found["leftover"] for found in counts.values()))


if __name__ == "__main__":
    app.run(main)
