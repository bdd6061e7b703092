"""Precision, recall, density and coverage of generated features.

Kynkaanniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models" (2019),
and Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models" (ICML 2020). A
sample's neighbourhood is the open ball up to its k-th nearest sample of its own set, itself not
counted.
"""

import numpy as np

from cgt_tf.errors import InputError
from cgt_tf.metrics import distances
from cgt_tf.metrics.metric import HIGHER, Comparison, Found, Metric

_NEIGHBOURS = 5

# A squared distance this close to the radius, in relative terms, lies on the sphere, which does not
# belong to the ball: the same distance computed in another block may differ in its last bits.
_ON_SPHERE = 1e-12


def prdc(real: np.ndarray, fake: np.ndarray, k: int = 5) -> dict[str, float]:
    """Precision, recall, density and coverage.

    Args:
        real: Features of the real images [n, d], n > k, not all equal.
        fake: Features of the generated images [m, d], m > k.
        k: Which nearest neighbour gives the radius, at least 1.

    Returns:
        `precision`: share of generated samples within the ball of any real sample;
        `recall`: share of real samples within the ball of any generated sample;
        `density`: number of real balls that a generated sample is in, on average, over k; can
            exceed 1;
        `coverage`: share of real samples whose ball holds any generated sample.
        Values depend on n, m and k. Computed in float64 blocks: memory stays at the size of the
        given features plus 0.3 GB; time grows with (n + m)^2 d.

    Raises:
        InputError: not 2-D, NaN, different widths, real samples that are all equal, or a k outside
            [1, min(n, m) - 1].
    """
    real, fake = distances.check_pair(real, fake)
    most = min(len(real), len(fake)) - 1
    if not 1 <= k <= most:
        raise InputError(
            f"expected k in [1, {most}] for {len(real)} real and {len(fake)} generated samples, "
            f"got {k}"
        )
    distances.check_not_constant(real)
    with np.errstate(over="ignore", invalid="ignore"):  # reported below
        centre = real.mean(axis=0, dtype=np.float64)
        real_radii = distances.kth_squared_distances(real, k, centre) * (1.0 - _ON_SPHERE)
        fake_radii = distances.kth_squared_distances(fake, k, centre) * (1.0 - _ON_SPHERE)
    distances.check_finite(real_radii, "real")
    distances.check_finite(fake_radii, "generated")
    real_in_fake_ball = np.zeros(len(real), bool)
    real_ball_is_hit = np.zeros(len(real), bool)
    balls_around_fake = np.zeros(len(fake), np.int64)
    for start, real_block in distances.row_blocks(real, centre):
        rows = slice(start, start + len(real_block))
        for fake_start, fake_block in distances.row_blocks(fake, centre):
            columns = slice(fake_start, fake_start + len(fake_block))
            squared = distances.squared_distances(real_block, fake_block)
            within_real = squared < real_radii[rows, None]
            balls_around_fake[columns] += within_real.sum(axis=0)
            real_ball_is_hit[rows] |= within_real.any(axis=1)
            real_in_fake_ball[rows] |= (squared < fake_radii[columns]).any(axis=1)
    return {
        "precision": float((balls_around_fake > 0).mean()),
        "recall": float(real_in_fake_ball.mean()),
        "density": float(balls_around_fake.mean() / k),
        "coverage": float(real_ball_is_hit.mean()),
    }


def _compute(images: Comparison) -> Found:
    return Found(prdc(images.real.features, images.fake.features, _NEIGHBOURS))


METRIC = Metric(
    _compute, better=dict.fromkeys(("precision", "recall", "density", "coverage"), HIGHER)
)
