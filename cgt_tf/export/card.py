"""`model_card.json` of an export: what is known of it, and "unknown" where nothing is.

What an export measures itself (classes, sizes, times) stands beside what its caller says of data,
method, scores and licences. `nearest.png` beside it shows generated images with the nearest
training images, or the card says why there is none.
"""

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from cgt_tf.files import read_json, write_atomically
from cgt_tf.networks.extended import ExtendedGenerator
from cgt_tf.networks.fold import parameters_per_class

FILE = "model_card.json"
PICTURE = "nearest.png"
UNKNOWN = "unknown"
_TOLD = ("data", "method", "scores", "licence")
_TIMED_ROWS = (1, 8)
_REPEATS = 3
_LIMITS = (
    "Images show what the training images showed, their biases included; near-copies of training "
    "images have not been ruled out, see nearest_neighbours.",
    "Images have one size, and nothing says which of them are good: look at them, and at the "
    "scores under their protocol, before use.",
    "The same label, seed and truncation give the same image up to rounding, which depends on the "
    "batch size and the device: seldom, a value moves by one grey level.",
)


@dataclasses.dataclass(frozen=True)
class Weights:
    """How weights are stored. Images are always computed in float32.

    Attributes:
        stored: Precision of kernels and tables; all else is float32.
        largest_difference: How far images move by it, in grey levels of 255; see
            `difference.largest_difference`.
    """

    stored: str = "float32"
    largest_difference: float = 0.0

    @property
    def note(self) -> str:
        """One line for people."""
        return (
            f"stored in {self.stored}, computed in float32: images move by at most "
            f"{self.largest_difference:.2f} of 255 grey levels"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Nearest:
    """Generated images beside the nearest training images.

    Attributes:
        picture: The picture; None where it could not be made.
        facts: What it shows and how it was measured, as JSON; without a picture `skipped`, the
            reason.
    """

    picture: Image.Image | None
    facts: Mapping[str, Any]

    @classmethod
    def skipped(cls, reason: str) -> "Nearest":
        return cls(None, {"skipped": reason})


def write_card(
    extended: ExtendedGenerator,
    directory: Path,
    told: Mapping[str, Any],
    weights: Weights,
    sample: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> None:
    """Writes the card into an export's directory, and the picture of nearest neighbours beside it.

    Args:
        extended: What was exported.
        directory: Directory of a version, or of a native model.
        told: `data`, `method`, `scores` and `licence`, as JSON; what is missing is "unknown". And
            `nearest`, a `Nearest`.
        weights: How they are stored.
        sample: Images of labels and seeds, int64 [B], by what was written; timed on this machine's
            default device.
    """
    nearest = told.get("nearest") or Nearest.skipped("the exporter was given no training images")
    spec = extended.spec
    card = {
        "classes": len(extended.class_names),
        "class_names": extended.class_names,
        "resolution": spec.resolution,
        "dim_z": spec.dim_z,
        "architecture": spec.architecture,
        **{name: told.get(name, UNKNOWN) for name in _TOLD},
        "mixes_classes": extended.mixes,
        "weights": {**dataclasses.asdict(weights), "computed": "float32"},
        "bytes_per_class": _bytes_per_class(extended, weights),
        "milliseconds_per_image": _milliseconds(sample, spec.num_classes),
        "measured_with": {
            "tensorflow": tf.__version__,
            "device": "GPU" if tf.config.list_logical_devices("GPU") else "CPU",
        },
        "nearest_neighbours": dict(nearest.facts),
        "limits": list(_LIMITS),
    }
    if nearest.picture is not None:
        card["nearest_neighbours"]["file"] = PICTURE
        nearest.picture.save(directory / PICTURE)
    write_atomically(directory / FILE, json.dumps(card, indent=2, ensure_ascii=False) + "\n")


def read_weights(directory: Path) -> Weights:
    """What a card says of them."""
    told = read_json(directory / FILE, "a model card")["weights"]
    return Weights(told["stored"], told["largest_difference"])


def _bytes_per_class(extended: ExtendedGenerator, weights: Weights) -> int | str:
    """Of the variables that a class adds, where classes are rows of tables."""
    if not extended.mixes:
        return UNKNOWN
    return tf.as_dtype(weights.stored).size * parameters_per_class(extended.generator)


def _milliseconds(sample: Callable, num_classes: int) -> dict[str, float]:
    """The median time an image takes, by rows of a request; the first call does not count."""
    measured = {}
    for rows in _TIMED_ROWS:
        numbers = np.arange(rows)
        times = []
        for _ in range(1 + _REPEATS):
            start = time.perf_counter()
            sample(numbers % num_classes, numbers)
            times.append(time.perf_counter() - start)
        measured[f"batch_{rows}"] = round(1000 * float(np.median(times[1:])) / rows, 2)
    return measured
