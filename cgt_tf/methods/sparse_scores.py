"""Sparse scores after training: the largest of each class are kept, the residual takes the rest.

The offsets stay what they were, S^T P + R, so the images do; what is left of S can be read as which
old classes a new one is made of, and how much of its offsets they make. Our addition: the paper's
l1 only shrinks scores, and with Adam none of them ends at 0. Where there are more old classes than
the rank of P, scores are not unique.
"""

import numpy as np
from keras import ops

from cgt_tf.errors import InputError
from cgt_tf.layers.pseudo_class_batch_norm import PropagatedOffsets


def keep_top_scores(part: PropagatedOffsets, count: int) -> np.ndarray:
    """Sets all but each new class' `count` largest scores to 0, and the residual to what they made.

    Args:
        part: with pseudo-classes, scores of its own and a residual, and no spectral norm.
        count: at least 1; more than there are old classes keeps all.

    Returns:
        What share of each new class' offsets the kept scores make, float64 [M]:
        1 - |R|^2 / |S^T P + R|^2, with R the new residual; below 0 where R is the longer one.

    Raises:
        InputError: a count below 1, or a part as described above that it is not.
    """
    if count < 1:
        raise InputError(f"expected at least 1 score to keep, got {count}")
    if part.prior is None or part.residual is None or part.prior.spectral_norm:
        raise InputError(
            "expected offsets with pseudo-classes and residuals, and without spectral norm "
            "(method.propagate, method.residual, method.spectral_norm)"
        )
    prior, scores, residual = (
        ops.convert_to_numpy(x).astype(np.float64)
        for x in (part.prior.kernel, part.scores.kernel, part.residual)
    )
    kept = np.where(_largest(np.abs(scores), count), scores, 0.0)
    offsets = scores.T @ prior + residual
    rest = offsets - kept.T @ prior
    part.scores.kernel.assign(kept.astype(np.float32))
    part.residual.assign(rest.astype(np.float32))
    return 1 - np.sum(rest**2, axis=1) / np.sum(offsets**2, axis=1)


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Whether each entry is among the `count` largest of its column, ties by the lower row."""
    ranks = np.argsort(np.argsort(-values, axis=0, kind="stable"), axis=0)
    return ranks < count
