"""What is scored: images that a generator draws, or images that are there already."""

import dataclasses
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import tensorflow as tf

from cgt_tf.data.image_set import ImageSet
from cgt_tf.data.pipeline import to_uint8
from cgt_tf.latents import draw_latents
from cgt_tf.scoring.generate import SampleFn, generate_images

_BATCH = 256


class Samples(Protocol):
    """Labelled images that come in batches.

    Attributes:
        labels: int32 [n].
        class_names: What the labels stand for.
    """

    labels: np.ndarray
    class_names: tuple[str, ...]

    def __iter__(self) -> Iterator[np.ndarray]:
        """Batches of images uint8 [b, H, W, 3], in the order of `labels`; may be repeated."""

    def take(self, indices: np.ndarray) -> np.ndarray:
        """Images uint8 [k, H, W, 3] by their positions int [k]."""


@dataclasses.dataclass(frozen=True, eq=False)
class GeneratedImages:
    """Images that a generator draws when they are asked for; see `generate.generate_images`."""

    sample_fn: SampleFn
    labels: np.ndarray
    class_names: tuple[str, ...]
    dim_z: int
    batch_size: int = 100
    seed: int = 0
    truncation: float = 1.0

    def __iter__(self) -> Iterator[np.ndarray]:
        return generate_images(
            self.sample_fn,
            self.labels,
            self.dim_z,
            batch_size=self.batch_size,
            seed=self.seed,
            truncation=self.truncation,
        )

    def take(self, indices: np.ndarray) -> np.ndarray:
        """Draws some of the images once more; equal up to rounding in the convolutions."""
        images = []
        for start in range(0, len(indices), self.batch_size):
            part = indices[start : start + self.batch_size]
            full = np.resize(part, self.batch_size)
            rows = [
                draw_latents(self.seed, index, index + 1, self.dim_z, self.truncation)
                for index in full.tolist()
            ]
            drawn = self.sample_fn(tf.concat(rows, axis=0), tf.constant(self.labels[full]))
            images.append(to_uint8(drawn).numpy()[: len(part)])
        return np.concatenate(images)


@dataclasses.dataclass(frozen=True, eq=False)
class GivenImages:
    """Images of a set."""

    images: ImageSet

    @property
    def labels(self) -> np.ndarray:
        return self.images.labels

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.images.class_names

    def __iter__(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self.images), _BATCH):
            yield self.images.images[start : start + _BATCH]

    def take(self, indices: np.ndarray) -> np.ndarray:
        return self.images.images[indices]


def canonical_order(labels: np.ndarray, class_names: tuple[str, ...]) -> np.ndarray:
    """Order int64 [n] that depends on nothing but the order within each class.

    Classes are spread evenly, so that any stretch of images is a fair sample. Metrics that cut the
    images into parts then give the same number for a generator and for class folders of the same
    images, whose classes follow each other.
    """
    rank = np.empty(len(labels), np.float64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        rank[members] = (np.arange(len(members)) + 0.5) / len(members)
    by_name = np.argsort(np.argsort(np.array(class_names, dtype=object), kind="stable"))
    return np.lexsort((by_name[labels], rank))
