"""`model_card.json` of an export: what is known of it, and "unknown" where nothing is.

What an export measures itself (classes, sizes, times) stands beside what its caller says of data,
method, scores and licences. A nearest-neighbour picture is not among it.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from cgt_tf.files import write_atomically
from cgt_tf.networks.extended import ExtendedGenerator
from cgt_tf.networks.fold import parameters_per_class

FILE = "model_card.json"
UNKNOWN = "unknown"
_TOLD = ("data", "method", "scores", "licence")
_FLOAT_BYTES = 4
_TIMED_ROWS = (1, 8)
_REPEATS = 3
_LIMITS = (
    "Images show what the training images showed, their biases included; near-copies of training "
    "images have not been ruled out.",
    "The same label, seed and truncation give the same image up to rounding, which depends on the "
    "batch size and the device: seldom, a value moves by one grey level.",
)


def write_card(
    extended: ExtendedGenerator,
    directory: Path,
    told: Mapping[str, Any],
    signatures: Mapping | None = None,
) -> None:
    """Writes the card into an export's directory.

    Args:
        extended: What was exported.
        directory: Directory of a version, or of a native model.
        told: `data`, `method`, `scores` and `licence`, as JSON; what is missing is "unknown".
        signatures: Signatures of the written SavedModel, by name; timed on this machine's default
            device.
    """
    spec = extended.spec
    card = {
        "classes": len(extended.class_names),
        "class_names": extended.class_names,
        "resolution": spec.resolution,
        "dim_z": spec.dim_z,
        "architecture": spec.architecture,
        **{name: told.get(name, UNKNOWN) for name in _TOLD},
        "mixes_classes": extended.mixes,
        "bytes_per_class": _bytes_per_class(extended),
        "milliseconds_per_image": _milliseconds(signatures, spec.num_classes),
        "measured_with": {
            "tensorflow": tf.__version__,
            "device": "GPU" if tf.config.list_logical_devices("GPU") else "CPU",
        },
        "limits": list(_LIMITS),
    }
    write_atomically(directory / FILE, json.dumps(card, indent=2, ensure_ascii=False) + "\n")


def _bytes_per_class(extended: ExtendedGenerator) -> int | str:
    """Of the variables that a class adds, where classes are rows of tables."""
    if not extended.mixes:
        return UNKNOWN
    return _FLOAT_BYTES * parameters_per_class(extended.generator)


def _milliseconds(signatures: Mapping | None, num_classes: int) -> dict[str, float] | str:
    """The median time an image takes, by rows of a request; the first call does not count."""
    if signatures is None:
        return UNKNOWN
    measured, signature = {}, signatures["serving_default"]
    for rows in _TIMED_ROWS:
        numbers = tf.range(rows, dtype=tf.int64)
        times = []
        for _ in range(1 + _REPEATS):
            start = time.perf_counter()
            signature(label=numbers % num_classes, seed=numbers)["image"].numpy()
            times.append(time.perf_counter() - start)
        measured[f"batch_{rows}"] = round(1000 * float(np.median(times[1:])) / rows, 2)
    return measured
