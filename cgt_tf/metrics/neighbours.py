"""Nearest training images of generated ones: does the generator copy what it was trained on?

Distance metrics reward a generator that repeats its training images. The check compares how near
generated images are to the training images with how near held-out real images are: Meehan,
Chaudhuri and Dasgupta, "A Non-Parametric Test to Detect Data-Copying in Generative Models" (AISTATS
2020), here over the whole space and not cell by cell.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from cgt_tf.errors import InputError
from cgt_tf.metrics import distances


class Neighbours(NamedTuple):
    """The k nearest training samples of each generated sample, nearest first.

    Attributes:
        distances: Euclidean, float64 [m, k].
        indices: Rows of the training features, int64 [m, k].
    """

    distances: np.ndarray
    indices: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Memorisation:
    """How near generated samples are to the training samples.

    Attributes:
        distances: Distances of each generated sample to its nearest training sample, float64 [m].
        indices: Row of that sample, int64 [m].
        median: Median of the distances.
        heldout_distances: Heldout distances of each held-out real sample to its nearest training
            sample, float64 [h], or None if none were given; so are the following.
        heldout_median: Heldout median of these.
        probability_nearer: Probability that a generated sample is nearer to the training samples
            than a held-out one, ties counted half: 0.5 for samples as new as held-out images, 1 for
            copies. Values clearly below 0.5 are samples far from all real images.
        z_score: Z score of that probability under the hypothesis that it is 0.5 (Mann and Whitney's
            test); above 3, the generator copies beyond chance.
    """

    distances: np.ndarray
    indices: np.ndarray
    median: float
    heldout_distances: np.ndarray | None = None
    heldout_median: float | None = None
    probability_nearer: float | None = None
    z_score: float | None = None


def nearest_neighbours(training: np.ndarray, fake: np.ndarray, k: int = 1) -> Neighbours:
    """The k nearest training samples of each generated one.

    Args:
        training: Features of the training images [n, d], n >= k.
        fake: Features of the generated images [m, d], m >= 1.
        k: At least 1.

    Returns:
        See `Neighbours`. Copies have distance exactly 0, and so has anything nearer than 1e-7 of
        the features' norms. Computed in float64 blocks: memory stays at the size of the given
        features plus 0.4 GB.

    Raises:
        InputError: not 2-D, no samples, NaN, different widths, an overflow, or k outside [1, n].
    """
    training = distances.check_features(training, "training", minimum=1)
    fake = distances.check_features(fake, "generated", minimum=1)
    distances.check_widths(training.shape[1], fake.shape[1])
    if not 1 <= k <= len(training):
        raise InputError(f"expected k in [1, {len(training)}] training samples, got {k}")
    found, indices = [], []
    with np.errstate(over="ignore", invalid="ignore"):  # reported below
        centre = training.mean(axis=0, dtype=np.float64)
        for _, block in distances.row_blocks(fake, centre):
            nearest, positions = np.empty((len(block), 0)), np.empty((len(block), 0), np.int64)
            for start, other in distances.row_blocks(training, centre):
                squared = distances.squared_distances(block, other)
                distances.check_finite(squared, "generated and training")
                columns = np.broadcast_to(np.arange(start, start + len(other)), squared.shape)
                nearest, positions = _smallest(
                    np.concatenate([nearest, squared], axis=1),
                    np.concatenate([positions, columns], axis=1),
                    k,
                )
            found.append(np.sqrt(nearest))
            indices.append(positions)
    return Neighbours(np.concatenate(found), np.concatenate(indices))


def memorisation(
    training: np.ndarray, fake: np.ndarray, heldout: np.ndarray | None = None
) -> Memorisation:
    """Distances of generated images to their nearest training images, and what is usual.

    Args:
        training: Features of the training images [n, d], n >= 2.
        fake: Features of the generated images [m, d], m >= 2.
        heldout: Features of real images that were not trained on [h, d], h >= 2. Without them the
            distances have nothing to be compared with.

    Raises:
        InputError: as `nearest_neighbours`, or fewer than two samples.
    """
    training = distances.check_features(training, "training")
    fake = distances.check_features(fake, "generated")
    nearest = nearest_neighbours(training, fake)
    of_fake = nearest.distances[:, 0]
    result = Memorisation(of_fake, nearest.indices[:, 0], float(np.median(of_fake)))
    if heldout is None:
        return result
    heldout = distances.check_features(heldout, "held-out")
    distances.check_widths(training.shape[1], heldout.shape[1], "held-out")
    of_heldout = nearest_neighbours(training, heldout).distances[:, 0]
    probability, z_score = _mann_whitney(of_fake, of_heldout)
    return dataclasses.replace(
        result,
        heldout_distances=of_heldout,
        heldout_median=float(np.median(of_heldout)),
        probability_nearer=probability,
        z_score=z_score,
    )


def _smallest(values: np.ndarray, labels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k smallest values of each row, in order, and their labels; all if there are fewer."""
    if k < values.shape[1]:
        kept = np.argpartition(values, k - 1, axis=1)[:, :k]
        values = np.take_along_axis(values, kept, axis=1)
        labels = np.take_along_axis(labels, kept, axis=1)
    order = np.argsort(values, axis=1, kind="stable")
    return np.take_along_axis(values, order, axis=1), np.take_along_axis(labels, order, axis=1)


def _mann_whitney(fake: np.ndarray, heldout: np.ndarray) -> tuple[float, float]:
    """P(fake < heldout) + P(fake = heldout) / 2, and its z-score against 0.5, with ties."""
    ordered = np.sort(heldout)
    above = len(heldout) - np.searchsorted(ordered, fake, "right")
    equal = np.searchsorted(ordered, fake, "right") - np.searchsorted(ordered, fake, "left")
    probability = float(np.sum(above + 0.5 * equal) / (len(fake) * len(heldout)))
    total = len(fake) + len(heldout)
    ties = np.unique(np.concatenate([fake, heldout]), return_counts=True)[1].astype(np.float64)
    correction = np.sum(ties**3 - ties) / (total * (total - 1.0))
    variance = (total + 1.0 - correction) / (12.0 * len(fake) * len(heldout))
    z_score = (probability - 0.5) / np.sqrt(variance) if variance > 0.0 else 0.0
    return probability, float(z_score)
