"""Samples by label and seed, of whatever a model is kept in."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf
from PIL import Image

from cgt_tf.data.pipeline import to_uint8
from cgt_tf.errors import InputError
from cgt_tf.export.saved_model import find_saved_model, load_saved_model
from cgt_tf.latents import latents_from_seeds
from cgt_tf.networks.extended import extended_from
from cgt_tf.networks.gan import Gan
from cgt_tf.pictures import labelled_grid
from cgt_tf.runs.handles import is_handle, load_source
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.runs.snapshots import open_snapshot

_MOST_PIXELS = 1 << 28


class Sampler(Protocol):
    """Draws images; the same ones of a run, of its SavedModel and of its native export.

    Attributes:
        class_names: All classes, in label order.
        new_classes: The ones a run has learnt; all of other models.
        resolution: Side of the images, in pixels.
    """

    class_names: Sequence[str]
    new_classes: Sequence[str]
    resolution: int

    def sample(self, labels: np.ndarray, seeds: np.ndarray, truncation: float) -> np.ndarray:
        """Images uint8 [n, R, R, 3] of labels int64 [n] and seeds int64 [n]."""


@dataclasses.dataclass(frozen=True)
class GanSampler:
    """A `Sampler` of networks in memory; they are folded when the first samples are drawn."""

    gan: Gan
    new_classes: Sequence[str]

    @property
    def class_names(self) -> Sequence[str]:
        return self.gan.class_names

    @property
    def resolution(self) -> int:
        return self.gan.spec.resolution

    def sample(self, labels: np.ndarray, seeds: np.ndarray, truncation: float) -> np.ndarray:
        return self._images(tf.constant(labels), tf.constant(seeds), truncation).numpy()

    @functools.cached_property
    def _images(self) -> Callable:
        extended = extended_from(self.gan)

        @tf.function(autograph=False)
        def images(labels, seeds, truncation):
            z = latents_from_seeds(seeds, extended.spec.dim_z, truncation)
            return to_uint8(extended(z, labels, truncation))

        return images


def open_sampler(model: str, checkpoint: str) -> Sampler:
    """A SavedModel, a source by its handle, or a run's old and new classes at a checkpoint.

    Raises:
        InputError: it is none of these, or damaged.
    """
    if find_saved_model(model):
        return load_saved_model(model)
    if is_handle(model):
        gan = load_source(model)
        return GanSampler(gan, gan.class_names)
    if not RunDir(model).exists:
        raise InputError(f"expected a run, a SavedModel or a source <kind>:<place>, got {model}")
    snapshot = open_snapshot(model, checkpoint)
    return GanSampler(snapshot.gan, snapshot.new_classes)


def labels_of(sampler: Sampler, names: Sequence[str]) -> np.ndarray:
    """Labels int64 of classes by their names.

    Raises:
        InputError: a class that the model does not have.
    """
    known = list(sampler.class_names)
    for name in names:
        if name not in known:
            raise InputError(
                f"expected classes of the model's {len(known)} ({', '.join(known[:5])}, ...), "
                f"got {name!r}"
            )
    return np.array([known.index(name) for name in names], np.int64)


def sample_grid(
    sampler: Sampler, names: Sequence[str], seeds: Sequence[int], truncation: float, scale: int
) -> Image.Image:
    """A picture of a row for each class, with its name, and a column for each seed.

    Args:
        sampler: Draws the images.
        names: Names of its classes.
        seeds: int64.
        truncation: In (0, 1].
        scale: Whole factor that pixels are enlarged by.

    Raises:
        InputError: a class that the model does not have, or a picture above 2^28 pixels.
    """
    labels = labels_of(sampler, names)
    pixels = len(names) * len(seeds) * (sampler.resolution * scale) ** 2
    if pixels > _MOST_PIXELS:
        raise InputError(
            f"expected a picture of at most {_MOST_PIXELS:,} pixels, got {pixels:,}: "
            f"{len(names)} classes, {len(seeds)} columns, enlarged {scale} times"
        )
    labels = np.repeat(labels, len(seeds))
    images = sampler.sample(labels, np.tile(np.array(seeds, np.int64), len(names)), truncation)
    return labelled_grid(images, names, len(seeds), scale)
