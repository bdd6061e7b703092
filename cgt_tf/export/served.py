"""Reads a SavedModel of `saved_model` and draws its images."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from cgt_tf.data.pipeline import to_uint8
from cgt_tf.errors import InputError
from cgt_tf.latents import latents_from_seeds

_SIGNATURES = ("serving_default", "truncated", "from_latent", "mix", "png", "labels")
_BATCH_SIZE = 64


class ServedGenerator:
    """A loaded SavedModel; see `load_saved_model`.

    Attributes:
        path: The version's directory.
        class_names: One name for each class, in label order.
        new_classes: The same names; a SavedModel does not say which a run has learnt.
        snapshot: None; nothing of a run's learning is kept.
        num_classes, resolution, dim_z: K, side of the images in pixels, width of a latent.
        signatures: The SavedModel's own, by name.
    """

    snapshot = None

    def __init__(self, path: Path, loaded):
        self.path = path
        self._loaded = loaded  # Owns the variables that the signatures use.
        self.signatures = loaded.signatures
        inputs = self.signatures["mix"].structured_input_signature[1]
        self.num_classes = inputs["class_weights"].shape[-1]
        labels = tf.range(self.num_classes, dtype=tf.int64)
        names = self.signatures["labels"](label=labels)["name"].numpy()
        self.class_names = self.new_classes = [name.decode("utf-8") for name in names]
        function = self.signatures["from_latent"]
        self.dim_z = function.structured_input_signature[1]["z"].shape[-1]
        self.resolution = function.structured_outputs["image"].shape[1]

    def sample(self, labels, seeds, truncation: float | np.ndarray = 1.0) -> np.ndarray:
        """Images uint8 [n, H, W, 3] of labels int [n] and seeds int [n].

        Latents are `latents_from_seeds(seeds, dim_z, truncation)`; the truncation is one for all,
        or [n]. The work is done in batches of bounded size, so n may be large.

        Raises:
            InputError: labels out of range, differing lengths, or a truncation outside (0, 1].
        """
        labels, seeds = np.asarray(labels), np.asarray(seeds)
        truncation = self._check(labels, seeds, truncation)
        return self._in_batches(
            lambda part: self.signatures["truncated"](
                label=tf.constant(labels[part], tf.int64),
                seed=tf.constant(seeds[part], tf.int64),
                truncation=tf.constant(truncation[part]),
            )["image"],
            len(labels),
        )

    def mix(self, weights, seeds, truncation: float | np.ndarray = 1.0) -> np.ndarray:
        """Images uint8 [n, H, W, 3] of weights of all classes float [n, K], by the signature `mix`.

        Latents are those of `sample`. The signature has the batch-norm statistics of truncation 1,
        so other truncations are refused where the model has statistics of their own for them.

        Raises:
            InputError: a model whose classes cannot be mixed, or what was said above.
        """
        weights, seeds = np.asarray(weights, np.float32), np.asarray(seeds, np.int64)
        truncation = np.broadcast_to(np.asarray(truncation, np.float32), seeds.shape)
        for value in set(truncation.tolist()) - {1.0}:
            self._check_statistics(value)

        def images(part):
            z = latents_from_seeds(seeds[part], self.dim_z, truncation[part])
            return to_uint8(self.signatures["mix"](class_weights=weights[part], z=z)["image"])

        try:
            return self._in_batches(images, len(weights))
        except tf.errors.InvalidArgumentError as error:
            reason = next((x for x in error.message.splitlines() if "mix: " in x), error.message)
            raise InputError(f"{self.path}: {reason.strip(' :[]')}") from error

    def _check_statistics(self, truncation: float) -> None:
        """`InputError` where an image at a truncation has other statistics than at 1."""
        label, seed = np.zeros(1, np.int64), np.zeros(1, np.int64)
        z = latents_from_seeds(seed, self.dim_z, np.float32(truncation))
        image = self.signatures["from_latent"](label=tf.constant(label), z=z)["image"]
        wanted = self.sample(label, seed, truncation).astype(np.int32)
        # One grey level is rounding.
        if np.abs(to_uint8(image).numpy() - wanted).max() > 1:
            raise InputError(
                f"expected a truncation of 1 to mix classes of {self.path}, whose signature mix "
                f"has no statistics for others, got {truncation:g}; the run has them"
            )

    def _in_batches(self, images_of, count: int) -> np.ndarray:
        images = np.empty((count, self.resolution, self.resolution, 3), np.uint8)
        for start in range(0, count, _BATCH_SIZE):
            part = slice(start, start + _BATCH_SIZE)
            images[part] = images_of(part).numpy()
        return images

    def _check(self, labels, seeds, truncation) -> np.ndarray:
        if labels.ndim != 1 or labels.shape != seeds.shape:
            raise InputError(
                "expected vectors of labels and seeds of one length, got shapes "
                f"{labels.shape} and {seeds.shape}"
            )
        for name, array in (("labels", labels), ("seeds", seeds)):
            if array.size and not np.issubdtype(array.dtype, np.integer):
                raise InputError(f"expected {name} as integers, got {array.dtype}")
        wrong = labels[(labels < 0) | (labels >= self.num_classes)]
        if wrong.size:
            raise InputError(f"expected labels in [0, {self.num_classes - 1}], got {wrong[0]}")
        given = np.asarray(truncation, np.float32)
        # Written so that NaN fails.
        wrong = given[~((given > 0) & (given <= 1))]
        if wrong.size:
            raise InputError(f"expected a truncation in (0, 1], got {wrong.flat[0]:g}")
        return np.broadcast_to(given, labels.shape)


def find_saved_model(directory: str | Path) -> Path | None:
    """The directory itself, or of its versions the highest; None where there is no SavedModel."""
    path = Path(directory)
    places = [path, *(path / str(version) for version in sorted(versions_of(path), reverse=True))]
    return next((place for place in places if (place / "saved_model.pb").exists()), None)


def load_saved_model(directory: str | Path) -> ServedGenerator:
    """Loads what `export_saved_model` wrote.

    A SavedModel is a program: load only those that you trust.

    Args:
        directory: A version's directory, or the base directory, of which the highest version is
            taken.

    Raises:
        InputError: no SavedModel there, a damaged one, or one of something else.
    """
    path = find_saved_model(directory)
    if path is None:
        raise InputError(f"expected a SavedModel or a directory of its versions, got {directory}")
    try:
        loaded = tf.saved_model.load(str(path))
    except (OSError, tf.errors.OpError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"expected a complete SavedModel in {path}: {reason}") from error
    missing = [name for name in _SIGNATURES if name not in getattr(loaded, "signatures", {})]
    if missing:
        raise InputError(
            f"expected a SavedModel of cgt-export in {path}, got one without the signatures "
            f"{', '.join(missing)}"
        )
    return ServedGenerator(path, loaded)


def versions_of(base: Path) -> list[int]:
    """Subdirectories named by a plain integer, as TensorFlow Serving looks for versions."""
    if not base.is_dir():
        return []
    names = [path.name for path in base.iterdir()]
    return [int(name) for name in names if name.isascii() and name.isdecimal()]
