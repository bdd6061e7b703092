"""Draws images of labels, or of weights of classes, by seeds."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf

from cgt_tf.data.pipeline import to_uint8
from cgt_tf.errors import InputError, first_few
from cgt_tf.latents import latents_from_seeds
from cgt_tf.networks.extended import ExtendedGenerator, extended_from
from cgt_tf.networks.gan import Gan
from cgt_tf.runs.snapshots import Snapshot

_BATCH_SIZE = 64


class Sampler(Protocol):
    """Draws images; the same ones of a run, of its SavedModel and of its native export.

    Attributes:
        class_names: All classes, in label order.
        new_classes: The ones a run has learnt; all of other models.
        resolution: Side of the images, in pixels.
        snapshot: The checkpoint of a run; None of other models.
    """

    class_names: Sequence[str]
    new_classes: Sequence[str]
    resolution: int
    snapshot: Snapshot | None

    def sample(
        self, labels: np.ndarray, seeds: np.ndarray, truncation: float | np.ndarray = 1.0
    ) -> np.ndarray:
        """Images uint8 [n, R, R, 3] of labels int64 [n] and seeds int64 [n].

        The truncation is one for all, or [n].
        """

    def mix(
        self, weights: np.ndarray, seeds: np.ndarray, truncation: float | np.ndarray
    ) -> np.ndarray:
        """Images uint8 [n, R, R, 3] of weights of all classes, float32 [n, K], as they are.

        Raises:
            InputError: classes of this model cannot be mixed.
        """


@dataclasses.dataclass(frozen=True)
class GanSampler:
    """A `Sampler` of networks in memory; they are folded when the first samples are drawn."""

    gan: Gan
    new_classes: Sequence[str]
    snapshot: Snapshot | None = None

    @property
    def class_names(self) -> Sequence[str]:
        return self.gan.class_names

    @property
    def resolution(self) -> int:
        return self.gan.spec.resolution

    @functools.cached_property
    def extended(self) -> ExtendedGenerator:
        """All classes, folded."""
        return extended_from(self.gan)

    def sample(
        self, labels: np.ndarray, seeds: np.ndarray, truncation: float | np.ndarray = 1.0
    ) -> np.ndarray:
        return self._in_batches(np.asarray(labels, np.int64), seeds, truncation)

    def mix(
        self, weights: np.ndarray, seeds: np.ndarray, truncation: float | np.ndarray
    ) -> np.ndarray:
        if not self.extended.mixes:
            raise InputError(self.extended.no_mixture)
        return self._in_batches(np.asarray(weights, np.float32), seeds, truncation)

    def _in_batches(self, classes: np.ndarray, seeds, truncation) -> np.ndarray:
        seeds = np.asarray(seeds, np.int64)
        truncation = np.broadcast_to(np.asarray(truncation, np.float32), seeds.shape)
        parts = []
        for start in range(0, len(classes), _BATCH_SIZE):
            part = slice(start, start + _BATCH_SIZE)
            given = (tf.constant(each[part]) for each in (classes, seeds, truncation))
            parts.append(self._images(*given).numpy())
        return np.concatenate(parts)

    @functools.cached_property
    def _images(self) -> Callable:
        extended = self.extended

        @tf.function(autograph=False, reduce_retracing=True)
        def images(classes, seeds, truncation):
            z = latents_from_seeds(seeds, extended.spec.dim_z, truncation)
            return to_uint8(extended(z, classes, truncation))

        return images


def labels_of(sampler: Sampler, names: Sequence[str]) -> np.ndarray:
    """Labels int64 of classes by their names.

    Raises:
        InputError: a class that the model does not have.
    """
    known = list(sampler.class_names)
    for name in names:
        if name not in known:
            raise InputError(
                f"expected classes of the model's {len(known)} ({first_few(known)}), got {name!r}"
            )
    return np.array([known.index(name) for name in names], np.int64)
