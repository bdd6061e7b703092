"""What a report shows of a run, read from its directory."""

import base64
import dataclasses
import io
from pathlib import Path

import numpy as np
from PIL import Image

from cgt_tf.errors import InputError
from cgt_tf.files import read_json
from cgt_tf.report import pictures_of
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.runs.snapshots import open_snapshot

_SCORES = "eval.json"
# Knobs of the config that are shown.
_SHOWN = {
    "method": ("method", "name"),
    "source": ("source",),
    "training images": ("data", "train"),
    "images a class": ("data", "images_per_class"),
    "batch": ("training", "batch_size"),
    "learning rate of G": ("generator", "learning_rate"),
    "learning rate of D": ("discriminator", "learning_rate"),
    "EMA decay": ("training", "ema_decay"),
    "seed": ("seed",),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunReport:
    """One run.

    Attributes:
        name: Name of its directory.
        facts: What was done, in words.
        records: Lines of stats.jsonl.
        scores: eval.json; empty where there is none.
        warnings: Of the training and of the scores.
        steps: Sample grids by step, as data URIs.
        reals: Training images in the same layout, as a data URI; "" where there are none.
        pictures: Other pictures by title, as data URIs.
        similarity: Shares of old classes in new ones, see `similarity.of_run`; None: it has none.
    """

    name: str
    facts: dict[str, str]
    records: list[dict]
    scores: dict
    warnings: list[str]
    steps: dict[int, str]
    reals: str
    pictures: dict[str, str]
    similarity: dict | None


def collect(workdir: str, checkpoint: str = "best") -> RunReport:
    """Reads a run and draws what is not drawn yet.

    Raises:
        InputError: no run with a checkpoint, or a damaged file.
    """
    run = RunDir(workdir)
    record = run.record()
    snapshot = open_snapshot(workdir, checkpoint)
    path = run.path / _SCORES
    scores = read_json(path, "the eval.json that cgt-evaluate wrote") if path.is_file() else {}
    records = run.read_stats()
    warned = [f"step {r['step']}: {text}" for r in records for text in r.get("warnings", ())]
    drawn, similarity = pictures_of.drawn(snapshot)
    for title, file in {"nearest real images": "nearest.png"}.items():
        if (run.path / file).is_file():
            drawn[title] = Image.open(run.path / file)
    return RunReport(
        name=run.path.name,
        facts=_facts(record, snapshot.step, records),
        records=records,
        scores=scores,
        warnings=[*warned, *scores.get("warnings", ())],
        steps=_grids(run.samples),
        reals=data_uri(run.samples / "reals.png"),
        pictures={title: data_uri(picture) for title, picture in drawn.items()},
        similarity=similarity,
    )


def data_uri(picture: Image.Image | Path) -> str:
    """A picture, or a PNG file, in a text; "" for a file that is not there."""
    if isinstance(picture, Path):
        if not picture.is_file():
            return ""
        content = picture.read_bytes()
    else:
        buffer = io.BytesIO()
        picture.convert("RGB").save(buffer, "PNG")
        content = buffer.getvalue()
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def _grids(directory: Path) -> dict[int, str]:
    files = sorted(directory.glob("step_*.png"))
    return {int(file.stem.removeprefix("step_")): data_uri(file) for file in files}


def _facts(record: dict, step: int, records: list[dict]) -> dict[str, str]:
    config = record["config"]
    facts = {}
    for title, path in _SHOWN.items():
        value = config
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        facts[title] = "all" if title == "images a class" and not value else str(value)
    names = record["class_names"]
    facts["new classes"] = f"{len(names)}: {', '.join(names)}"
    facts["checkpoint shown"] = f"step {step}"
    seconds = [r["seconds"] for r in records if "seconds" in r]
    if seconds:
        facts["time"] = f"{np.max(seconds) / 60:.1f} minutes, in the last process"
    versions = record.get("versions", {})
    facts["made with"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    facts["revision"] = str(record.get("commit") or "unknown")
    return facts


def check_workdirs(workdirs: list[str]) -> None:
    """`InputError` for no run, or two of one name."""
    names = [Path(workdir).name for workdir in workdirs]
    if not names or len(set(names)) != len(names):
        raise InputError(f"expected runs whose directories have different names, got {names}")
