"""FID extrapolated to infinitely many generated samples."""

from typing import NamedTuple

import numpy as np

from cgt_tf.errors import InputError
from cgt_tf.metrics import distances
from cgt_tf.metrics.gaussian import GaussianStatistics
from cgt_tf.metrics.metric import LOWER, Comparison, Found, Metric


class FidInfinity(NamedTuple):
    """A Frechet distance extrapolated to infinitely many generated samples.

    Attributes:
        value: The intercept; can be negative for sets that hardly differ.
        slope: Slope of the distance against 1 / count.
        counts: The numbers of generated samples that distances were computed at, int [points].
        distances: float [points].
        residual: Root mean square distance of the points from the line: if it is not small against
            `value`, the line does not fit, and the value is not to be trusted.
    """

    value: float
    slope: float
    counts: np.ndarray
    distances: np.ndarray
    residual: float


def fid_infinity(
    real: np.ndarray | GaussianStatistics,
    fake: np.ndarray,
    points: int = 15,
    minimum: int | None = None,
    seed: int = 0,
) -> FidInfinity:
    """Frechet distance without the bias of a finite number of generated samples.

    Chong and Forsyth, "Effectively Unbiased FID and Inception Score and Where to Find Them" (CVPR
    2020): distances of random subsets of the generated samples at evenly spaced counts, a
    straight line in 1 / count through them, and its intercept. The bias of the real set stays. The
    line holds for counts above d only.

    Args:
        real: Features of the real images [n, d], or their statistics.
        fake: Features of the generated images [m, d].
        points: How many counts, at least 3; the last is m.
        minimum: The first count, in [2, m - points + 1]. Default: a tenth of m, as in the paper.
        seed: Seed of the draws.

    Raises:
        InputError: as `frechet_distance`, or points and minimum outside their ranges.
    """
    fake = distances.check_features(fake, "generated")
    if not isinstance(real, GaussianStatistics):
        real = GaussianStatistics.from_features(real, "real")
    distances.check_widths(real.mean.size, fake.shape[1])
    minimum = max(len(fake) // 10, 2) if minimum is None else minimum
    if points < 3 or not 2 <= minimum <= len(fake) - points + 1:
        raise InputError(
            f"expected at least 3 points from a minimum of 2 up to {len(fake)} generated samples, "
            f"got {points} points from {minimum}"
        )
    counts = np.linspace(minimum, len(fake), points).astype(np.int64)
    generator = np.random.default_rng(seed)
    values = []
    for count in counts:
        chosen = fake[np.sort(generator.choice(len(fake), count, replace=False))]
        values.append(real.distance(GaussianStatistics.from_features(chosen, "generated")))
    design = np.stack([np.ones(points), 1.0 / counts], axis=1)
    (value, slope), *_ = np.linalg.lstsq(design, np.array(values), rcond=None)
    residual = np.sqrt(np.mean((design @ (value, slope) - values) ** 2))
    return FidInfinity(float(value), float(slope), counts, np.array(values), float(residual))


def _compute(images: Comparison) -> Found:
    result = fid_infinity(images.statistics(), images.fake.features, seed=images.seed)
    return Found({"fid_infinity": result.value})


METRIC = Metric(_compute, better={"fid_infinity": LOWER})
