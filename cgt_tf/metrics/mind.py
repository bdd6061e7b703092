"""MIND: how far two sets of features are apart, seen along random directions.

Berthet et al., "MIND: Monge Inception Distance for Generative Models Evaluation" (arXiv 2605.06797,
2026): a sliced squared Wasserstein-2 distance. Along a direction the optimal transport of two sets
is found by sorting; no covariance of d x d numbers is estimated, so fewer images suffice than for
FID, and differences beyond mean and covariance count.
"""

import numpy as np

from cgt_tf.errors import InputError
from cgt_tf.metrics import distances
from cgt_tf.metrics.metric import LOWER, Comparison, Found, Metric

# The authors' factor: 3 d times the mean over directions. Along a unit direction a shift of the
# mean keeps 1/d of its squared length, so values lie on the scale of FID.
_SCALE = 3.0
_AT_ONCE = 64  # Directions whose projections are held together.


def monge_distance(
    real: np.ndarray, fake: np.ndarray, projections: int = 1000, seed: int = 0
) -> float:
    """3 d times the mean of W_2^2 between the projections on random unit vectors.

    The features are taken as they are, neither centred nor scaled. W_2 is that of the two sets as
    they are, exact for different numbers of samples too: the integral of the squared difference of
    their quantile functions, which are steps. (The authors compare equal numbers.) It is positive
    for two finite sets of one distribution, by an amount that falls with their numbers: compare at
    equal counts.

    Args:
        real: Features of the real images [n, d], n >= 2.
        fake: Features of the generated images [m, d], m >= 2.
        projections: Number of directions, at least 1.
        seed: Seed of the directions.

    Returns:
        A float >= 0; 0 for equal sets. Time grows with (n + m) (d + log(n + m)) times the
        directions; memory stays at the size of the given features plus 128 (n + m) numbers.

    Raises:
        InputError: not 2-D, fewer than two samples, NaN, different widths, an overflow, or
            projections below 1.
    """
    real, fake = distances.check_pair(real, fake)
    if projections < 1:
        raise InputError(f"expected at least 1 projection, got {projections}")
    generator = np.random.default_rng(seed)
    real_rank, fake_rank, weights = _quantile_steps(len(real), len(fake))
    total = 0.0
    with np.errstate(over="ignore", invalid="ignore"):  # reported below
        for start in range(0, projections, _AT_ONCE):
            shape = (min(_AT_ONCE, projections - start), real.shape[1])
            directions = generator.standard_normal(shape)
            directions /= np.linalg.norm(directions, axis=1, keepdims=True)
            steps = _sorted_along(real, directions)[:, real_rank]
            steps -= _sorted_along(fake, directions)[:, fake_rank]
            total += float(np.sum(np.square(steps, out=steps) @ weights))
    distances.check_finite(total, "real and generated")
    return _SCALE * real.shape[1] * total / projections


def _sorted_along(rows: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Projections float64 [directions, n], each line in ascending order."""
    projected = np.empty((len(directions), len(rows)))
    for start, block in distances.row_blocks(rows):
        np.matmul(directions, block.T, out=projected[:, start : start + len(block)])
    projected.sort(axis=1)
    return projected


def _quantile_steps(n: int, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the quantile functions of n and of m values are constant together.

    Returns:
        For each such stretch of probabilities: the rank of its value among the n, that among the m,
        and its length; the lengths sum to 1.
    """
    # In units of 1 / (n m), where all ends are integers.
    ends = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)
    starts = np.concatenate([[0], ends[:-1]])
    return starts // m, starts // n, (ends - starts) / (n * m)


def _compute(images: Comparison) -> Found:
    real, fake = images.real.features, images.fake.features
    return Found({"mind": monge_distance(real, fake, seed=images.seed)})


METRIC = Metric(_compute, better={"mind": LOWER})
