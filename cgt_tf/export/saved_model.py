"""Writes a generator as a SavedModel in TensorFlow Serving's layout; `served` reads it back.

    <base directory>/<version>/saved_model.pb, variables/, assets/class_names.txt, model_card.json,
        assets.extra/tf_serving_warmup_requests
    <base directory>/serving/, what a server is started with, see `kit`

Signatures (see `serving.make_signatures`), every tensor with the batch as its first axis, so that
a server may join and split requests:

    serving_default  label int64 [B], seed int64 [B] -> image uint8 [B, H, W, 3]
    truncated        label, seed, truncation float32 [B] -> image uint8 [B, H, W, 3]
    from_latent      label int64 [B], z float32 [B, dim_z] -> image float32 [B, H, W, 3]
    mix              class_weights float32 [B, K], z float32 [B, dim_z]
                     -> image float32 [B, H, W, 3]
    png              label, seed, truncation -> image_bytes string [B]
    labels           label int64 [B] -> name string [B]

Float images are in [-1, 1]. A seed stands for one latent, whatever else is in the batch; its image
is the same up to rounding in the convolutions, which depends on the batch size: seldom, a value
moves by one grey level.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from cgt_tf.data.pipeline import to_uint8
from cgt_tf.errors import InputError
from cgt_tf.export import card, kit, warm_up
from cgt_tf.export.difference import largest_difference
from cgt_tf.export.served import ServedGenerator, load_saved_model, versions_of
from cgt_tf.export.serving import GeneratorModule, make_signatures
from cgt_tf.export.stored import StoredWeights
from cgt_tf.files import staged_directory
from cgt_tf.latents import latents_from_seeds
from cgt_tf.networks.extended import ExtendedGenerator

_CLASS_NAMES_FILE = "class_names.txt"
_TOLERANCE = 1e-4
_CHECKED_SAMPLES = 8


class BrokenExportError(RuntimeError):
    """A written SavedModel does not do what the generator in memory does."""


def export_saved_model(
    extended: ExtendedGenerator,
    base_directory: str | Path,
    *,
    version: int | None = None,
    precision: str = "float32",
    told: Mapping[str, Any] | None = None,
) -> Path:
    """Writes `<base_directory>/<version>/`, all or nothing, and checks what it wrote.

    The artefact is loaded once, before it takes its final name, and compared with the generator
    in memory. It needs TensorFlow and no other package to run. `<base_directory>/serving/` is
    written where it is missing, and warm-up requests where tensorflow-serving-api is installed.

    Args:
        extended: Old and new classes, folded.
        base_directory: Holds one directory for each version; made where it is missing.
        version: A positive integer; default is one more than the highest there is.
        precision: Of the stored weights, see `stored.StoredWeights`; float16 and bfloat16 take half
            the space. Images are computed in float32, and the model card says how far they move.
        told: What the model card says of data, method, scores and licence, see `card.write_card`.

    Returns:
        The version's directory.

    Raises:
        InputError: the version exists, the place cannot be written to, it is a SavedModel itself,
            a class name has a line break, or a weight is not finite in the precision.
        BrokenExportError: the artefact's images differ by more than 1e-4 from those of the
            generator with the weights that are stored.
    """
    base = Path(base_directory)
    _check_class_names(extended.class_names)
    if (base / "saved_model.pb").exists():
        raise InputError(f"expected a directory of model versions, got a SavedModel: {base}")
    version = _free_version(base, version)
    weights = StoredWeights(extended, precision)
    target = base / str(version)
    with staged_directory(target) as temporary:
        _write(extended, weights, temporary)
        served = _verify(extended, weights, temporary)
        warm_up.write_warm_up(extended, temporary, kit.model_name(base))
        card.write_card(
            extended, temporary, told or {}, _moved(extended, served, precision), served.sample
        )
        # Another export may have finished while this one was written.
        _free_version(base, version)
    kit.write_kit(base)
    return target


def _check_class_names(names: list[str]) -> None:
    for name in names:
        if "\n" in name or "\r" in name:
            raise InputError(f"expected class names of one line each, got {name!r}")


def _free_version(base: Path, version: int | None) -> int:
    taken = versions_of(base)
    if version is None:
        return max(taken, default=0) + 1
    if version < 1:
        raise InputError(f"expected a version of at least 1, got {version}")
    if version in taken:
        raise InputError(f"expected a version that {base} does not have yet, got {version}")
    return version


def _write(extended: ExtendedGenerator, weights: StoredWeights, directory: Path) -> None:
    with tempfile.TemporaryDirectory() as assets:
        file = Path(assets) / _CLASS_NAMES_FILE
        file.write_text("".join(f"{name}\n" for name in extended.class_names), encoding="utf-8")
        module = GeneratorModule(weights, str(file))
        tf.saved_model.save(module, str(directory), signatures=make_signatures(extended, weights))


def _verify(
    extended: ExtendedGenerator, weights: StoredWeights, directory: Path
) -> ServedGenerator:
    """Compares one batch, of classes from the first to the last, with the generator in memory.

    That computes with the weights that are stored. Returns what it has loaded.
    """
    served = load_saved_model(directory)
    if served.class_names != list(extended.class_names):
        raise BrokenExportError(
            f"expected the class names {extended.class_names}, got {served.class_names}"
        )
    classes = extended.spec.num_classes
    labels = np.linspace(0, classes - 1, _CHECKED_SAMPLES).round().astype(np.int64)
    seeds = np.arange(_CHECKED_SAMPLES)
    z = latents_from_seeds(seeds, extended.spec.dim_z)
    with weights.in_use():
        wanted = np.asarray(extended(z, labels), np.float32)
    images = served.signatures["from_latent"](label=tf.constant(labels), z=z)["image"].numpy()
    _check_close(images, wanted, _TOLERANCE)
    # One grey level: rounding to integers may turn the smallest difference into one.
    sampled = served.sample(labels, seeds).astype(np.float32)
    _check_close(sampled, to_uint8(wanted).numpy().astype(np.float32), 1)
    return served


def _moved(extended: ExtendedGenerator, served: ServedGenerator, precision: str) -> card.Weights:
    if precision == "float32":
        return card.Weights()
    from_latent = served.signatures["from_latent"]

    def images(z, labels):
        return from_latent(label=tf.constant(labels, tf.int64), z=tf.constant(z))["image"].numpy()

    return card.Weights(precision, largest_difference(extended.spec, extended, images))


def _check_close(images: np.ndarray, wanted: np.ndarray, tolerance: float) -> None:
    difference = np.abs(images - wanted).max()
    # Written so that NaN fails.
    if not difference <= tolerance:
        raise BrokenExportError(
            "expected the SavedModel's images to be the generator's, they differ by "
            f"{difference:g} (allowed: {tolerance:g}); nothing was written"
        )
