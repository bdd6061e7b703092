"""Sparse scores after training: the largest of each class are kept, the residual takes the rest.

The offsets stay what they were, S^T P + R, so the images do; what is left of S can be read as which
old classes a new one is made of, and how much of its offsets they make. Our addition: the paper's
l1 only shrinks scores, and with Adam none of them ends at 0. Where there are more old classes than
the rank of P, scores are not unique.
"""

import numpy as np

from cgt_tf.errors import InputError


def keep_top_scores(
    prior: np.ndarray, scores: np.ndarray, residual: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sets all but each new class' `count` largest scores to 0, and the residual to what they made.

    Args:
        prior: Pseudo-classes P [N, C], without spectral norm.
        scores: S [N, M].
        residual: R [M, C].
        count: At least 1; more than there are old classes keeps all.

    Returns:
        The new S and R, float32, and what share of each new class' offsets the kept scores make,
        float64 [M]: 1 - |R|^2 / |S^T P + R|^2, with R the new residual; below 0 where R is the
        longer one.

    Raises:
        InputError: a count below 1.
    """
    if count < 1:
        raise InputError(f"expected at least 1 score to keep, got {count}")
    prior, scores, residual = (np.asarray(x, np.float64) for x in (prior, scores, residual))
    kept = np.where(_largest(np.abs(scores), count), scores, 0.0)
    offsets = scores.T @ prior + residual
    rest = offsets - kept.T @ prior
    share = 1 - np.sum(rest**2, axis=1) / np.sum(offsets**2, axis=1)
    return kept.astype(np.float32), rest.astype(np.float32), share


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Whether each entry is among the `count` largest of its column, ties by the lower row."""
    ranks = np.argsort(np.argsort(-values, axis=0, kind="stable"), axis=0)
    return ranks < count
