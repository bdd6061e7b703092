"""Frechet distance between two sets of features (FID when they are Inception features).

Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium"
(2017), equation 6, with sample covariances (n - 1).

With centred rows X [n, d] and Y [m, d], tr sqrt(C1 C2) is the sum of the singular values of
X Y^T / sqrt((n - 1)(m - 1)): an n x m matrix, far smaller than d x d for a set of few samples.
"""

import numpy as np

from cgt_tf.metrics import distances
from cgt_tf.metrics.gaussian import GaussianStatistics, nuclear_norm
from cgt_tf.metrics.metric import LOWER, Comparison, Found, Metric

# The n x m cross product is formed up to this many numbers: 128 MiB.
_CROSS_SIZE = 2**24


def frechet_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """Squared Frechet distance between Gaussians fitted to two sets of features.

    Args:
        real: Features of the real images [n, d], n >= 2.
        fake: Features of the generated images [m, d], m >= 2.

    Returns:
        A float >= 0, in float64. It is biased upwards for few samples; below d + 1 samples a
        covariance is singular and numbers are only comparable at equal n and m. Where a set has at
        most d samples, the other's covariance is not formed. Besides the features it takes less
        than 0.4 GB for d = 2048.

    Raises:
        InputError: not 2-D, fewer than two samples, NaN, different widths, or an overflow.
    """
    real, fake = distances.check_pair(real, fake)
    if min(len(real), len(fake)) <= real.shape[1] and len(real) * len(fake) <= _CROSS_SIZE:
        if len(real) <= len(fake):
            return _cross_product_distance(GaussianStatistics.from_features(real, "real"), fake)
        return _cross_product_distance(GaussianStatistics.from_features(fake, "generated"), real)
    statistics = GaussianStatistics.from_features(real, "real")
    return statistics.distance(GaussianStatistics.from_features(fake, "generated"))


def _cross_product_distance(small: GaussianStatistics, large: np.ndarray) -> float:
    """`frechet_distance` of a set of at most d samples, by its rows, and another set."""
    with np.errstate(over="ignore", invalid="ignore"):  # reported below
        mean = large.mean(axis=0, dtype=np.float64)
        scale = np.sqrt(len(large) - 1)
        cross, variance = np.empty((len(large), small.count)), 0.0
        for start, centred in distances.row_blocks(large, mean):
            centred /= scale
            variance += float(np.vdot(centred, centred))
            np.matmul(centred, small.rows.T, out=cross[start : start + len(centred)])
        root_trace = nuclear_norm(cross)
        difference = small.mean - mean
        value = difference @ difference + small.variance + variance - 2.0 * root_trace
    distances.check_finite(value, "real and generated")
    return max(float(value), 0.0)


def _compute(images: Comparison) -> Found:
    fake = GaussianStatistics.from_features(images.fake.features, "generated")
    warnings = (
        f"fid: {len(features)} {kind} images for {features.shape[1]} features: the covariance is "
        "singular and the value strongly biased; compare at equal counts only"
        for kind, features in (("real", images.real.features), ("generated", images.fake.features))
        if len(features) <= features.shape[1]
    )
    return Found({"fid": images.statistics().distance(fake)}, warnings=tuple(warnings))


METRIC = Metric(_compute, better={"fid": LOWER})
