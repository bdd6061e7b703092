"""`config.json`: what a run was started with, and what was changed when it was resumed."""

import importlib.metadata
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from cgt_tf import config as configs
from cgt_tf.data.image_set import ImageSet
from cgt_tf.errors import InputError, first_few
from cgt_tf.files import read_json

FILE = "config.json"
_PACKAGES = ("tensorflow", "keras", "tensorflow-gan", "tensorflow-datasets", "numpy", "cgt_tf")
_FIELDS = {"config": dict, "class_names": list, "images": dict, "history": list}
_SHOWN = 5


def create(config: configs.Config, class_names: Sequence[str], images: ImageSet | None) -> dict:
    """The record of a new run."""
    return {
        "config": configs.to_dict(config),
        "class_names": list(class_names),
        "images": described(images),
        "history": [],
        "versions": {name: _version(name) for name in _PACKAGES},
        "commit": _commit(),
    }


def described(images: ImageSet | None) -> dict[str, list]:
    """Number and digest of the images of each class, by the class' name."""
    if images is None:
        return {}
    return {
        name: [images.counts[name], digest[:16]] for name, digest in images.class_digests.items()
    }


def read(path: Path) -> dict:
    """Reads a record; `InputError` where it is damaged."""
    record = read_json(path, "the config.json of a run of cgt-train")
    for name, kind in _FIELDS.items():
        if not isinstance(record.get(name), kind):
            raise InputError(f"expected {name} in the config.json of a run of cgt-train: {path}")
    for entry in record["history"]:
        known = isinstance(entry, dict) and isinstance(entry.get("step"), int)
        if not (known and isinstance(entry.get("changes"), dict)):
            raise InputError(f"expected steps and changes in the history of {path}")
    if not all(isinstance(name, str) for name in record["class_names"]):
        raise InputError(f"expected class names in the config.json of a run of cgt-train: {path}")
    return record


def resumed(
    record: dict,
    config: configs.Config,
    class_names: Sequence[str],
    images: ImageSet | None,
    step: int,
) -> dict:
    """The record of a run that goes on with a config, with what has changed in its history.

    Args:
        record: The run's so far.
        config, class_names, images: Given now.
        step: Step of the newest checkpoint.

    Raises:
        InputError: other classes or images, or a changed knob that has to stay.
    """
    stored = _flat(record["config"])
    given = _flat(json.loads(json.dumps(configs.to_dict(config))))
    changes = {
        name: [stored.get(name), given.get(name)]
        for name in {**stored, **given}
        if stored.get(name) != given.get(name)
    }
    fixed = [name for name in changes if not name.startswith(configs.CHANGEABLE)]
    if fixed:
        text = "; ".join(f"{k} was {changes[k][0]!r}, is {changes[k][1]!r}" for k in fixed)
        raise InputError(f"a resumed run keeps its config, got changes: {text}")
    _check_classes(record["class_names"], list(class_names))
    if images is not None and record["images"]:
        _check_images(record["images"], described(images))
    if not changes:
        return record
    entry = {"step": step, "changes": changes}
    now = json.loads(json.dumps(configs.to_dict(config)))
    return {**record, "config": now, "history": [*record["history"], entry]}


def evaluation_of(record: dict) -> configs.EvaluationConfig:
    """The config's group of scores."""
    return configs.from_dict({"evaluation": record["config"].get("evaluation", {})}).evaluation


def scores_from(record: dict) -> int:
    """The step after which scores are of the present kind: their settings changed there last."""
    found = -1
    for entry in record["history"]:
        if any(name.startswith(configs.SCORE_KNOBS) for name in entry["changes"]):
            found = entry["step"]
    return found


def _check_classes(stored: list[str], given: list[str]) -> None:
    if stored == given:
        return
    gone = [name for name in stored if name not in given]
    new = [name for name in given if name not in stored]
    text = f"without {first_few(map(repr, gone))}" if gone else ""
    text += (" and " if gone and new else "") + (f"with {first_few(map(repr, new))}" if new else "")
    raise InputError(f"a resumed run keeps its classes, got them {text or 'in another order'}")


def _check_images(stored: dict, given: dict) -> None:
    changed = [name for name in stored if stored[name] != given.get(name)]
    if not changed:
        return
    parts = []
    for name in changed[:_SHOWN]:
        before, now = stored[name][0], given[name][0]
        other = f"{now} images, there were {before}" if before != now else "other images"
        parts.append(f"{name!r} has {other}")
    more = f" and {len(changed) - _SHOWN} more classes" if len(changed) > _SHOWN else ""
    raise InputError(f"a resumed run keeps its training images: {'; '.join(parts)}{more}")


def _flat(values: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Commit of a checkout this package runs from, if it does."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return result.stdout.strip() or None
