"""The checkpoints of a run: `checkpoints/step_<n>/{state.*,gan/,manifest.json}`.

The manifest is written last, so a checkpoint without one is incomplete; it holds size and SHA-256
of every other file, by which damage is found.
"""

import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from absl import logging

from cgt_tf.errors import InputError
from cgt_tf.files import read_json, sha256, write_atomically

_MANIFEST = "manifest.json"
_NAME = re.compile(r"step_(\d{7,})")
# Parts of a checkpoint: the training's state, and the GAN for other commands.
STATE, GAN = "state", "gan"


def directory_of(root: Path, step: int) -> Path:
    return root / "checkpoints" / f"step_{step:07d}"


def complete(directory: Path, step: int) -> None:
    """Writes the manifest of all files that are there."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    entries = {
        path.relative_to(directory).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": sha256(path),
        }
        for path in files
    }
    text = json.dumps({"step": step, "files": entries}, indent=2)
    write_atomically(directory / _MANIFEST, text + "\n")


def complete_steps(root: Path) -> list[int]:
    """Steps whose checkpoint has a manifest, ascending; other folders are warned of."""
    steps = []
    for path in sorted(root.glob("checkpoints/*")):
        match = _NAME.fullmatch(path.name)
        if match is None:
            _warn("%s is no checkpoint: expected a name such as step_0000100", path)
        elif (path / _MANIFEST).is_file():
            steps.append(int(match[1]))
    return sorted(steps)


def damage(root: Path, step: int, part: str) -> str | None:
    """What is wrong with the files of a checkpoint, in a few words; None for nothing.

    Args:
        root: Root of the run.
        step: Step of the checkpoint.
        part: `STATE` or `GAN`.
    """
    directory = directory_of(root, step)
    try:
        manifest = read_json(directory / _MANIFEST, "a manifest")
        if manifest["step"] != step:
            return f"it is the checkpoint of step {manifest['step']!r}"
        files = {name: entry for name, entry in manifest["files"].items() if name.startswith(part)}
        if any(".." in Path(name).parts for name in files):
            return f"its {_MANIFEST} names files outside"
        for name, entry in files.items():
            path = directory / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != entry["bytes"]:
                return f"{name} has {path.stat().st_size} bytes, expected {entry['bytes']}"
            if sha256(path) != entry["sha256"]:
                return f"the bytes of {name} have changed"
    except (InputError, KeyError, TypeError, AttributeError):
        return f"its {_MANIFEST} is damaged"
    return None if files else f"it has no {part}"


def first_sound(root: Path, steps: Iterable[int], part: str) -> int | None:
    """The first of some steps whose checkpoint is not damaged; the others are warned of."""
    for step in steps:
        reason = damage(root, step, part)
        if reason is None:
            return step
        _warn("the checkpoint of step %d is damaged (%s) and is not used: %s", step, reason, root)
    return None


def remove_incomplete(root: Path, before: int) -> None:
    """Deletes what stopped processes left of checkpoints before a step."""
    for path in root.glob("checkpoints/step_*"):
        match = _NAME.fullmatch(path.name)
        if match and int(match[1]) < before and not (path / _MANIFEST).is_file():
            shutil.rmtree(path)


def _warn(message: str, *arguments) -> None:
    logging.warning(message, *arguments)
