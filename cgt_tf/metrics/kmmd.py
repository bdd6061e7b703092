"""Kernel maximum mean discrepancy (KMMD) as cGANTransfer reports it.

Shahbazi et al., "Efficient Conditional GAN Transfer with Knowledge Propagation across Classes"
(CVPR 2021); the number follows the evaluation code released with that paper: a Gaussian kernel
whose bandwidth is the mean squared distance among the real samples, means that include the
diagonal (the biased estimate), and the square root of the result. It is not symmetric. The released
code rounds distances to float32; here they are float64 throughout (a difference of 1e-6 relative).
"""

import numpy as np

from cgt_tf.errors import InputError
from cgt_tf.metrics import distances
from cgt_tf.metrics.metric import LOWER, Comparison, Found, Metric


def kernel_mmd(real: np.ndarray, fake: np.ndarray, sigma: float = 1.0) -> float:
    """sqrt(mean k(real, real) + mean k(fake, fake) - 2 mean k(real, fake)).

    k(x, y) = exp(-|x - y|^2 / (2 sigma^2 m)), m = mean of |x - x'|^2 over all pairs of real
    samples, those of a sample with itself included.

    Args:
        real: Features of the real images [n, d], n >= 2, not all equal.
        fake: Features of the generated images [m, d], m >= 2.
        sigma: Scale of the bandwidth, > 0.

    Returns:
        A float in [0, sqrt(2)]. Distances are computed in float64 blocks, so memory stays at the
        size of the given features plus 0.3 GB; time grows with (n + m)^2 d.

    Raises:
        InputError: not 2-D, fewer than two samples, NaN, different widths, real samples that are
            all equal, or a sigma that is not positive.
    """
    real, fake = distances.check_pair(real, fake)
    if not (np.isfinite(sigma) and sigma > 0):
        raise InputError(f"expected sigma > 0, got {sigma}")
    distances.check_not_constant(real)
    # Centring changes no distance and keeps |x|^2 + |y|^2 - 2 x.y accurate.
    with np.errstate(over="ignore", invalid="ignore"):  # reported below
        centre = real.mean(axis=0, dtype=np.float64)
        scatter = sum(
            float(np.vdot(block, block)) for _, block in distances.row_blocks(real, centre)
        )
        # The mean squared distance over all pairs is twice the mean squared norm of centred rows.
        bandwidth = 2.0 * sigma**2 * 2.0 * scatter / len(real)
    if not (np.isfinite(bandwidth) and bandwidth > 0):
        raise InputError(f"expected features of usual magnitude, got a bandwidth of {bandwidth}")

    def kernel(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        values = distances.squared_distances(left, right)
        values /= -bandwidth
        return np.exp(values, out=values)

    with np.errstate(over="ignore", invalid="ignore"):  # reported below
        # k(x, x) = 1: each set's diagonal adds the number of its samples.
        squared = (
            (distances.sum_within(real, kernel, centre) + len(real)) / len(real) ** 2
            + (distances.sum_within(fake, kernel, centre) + len(fake)) / len(fake) ** 2
            - 2.0 * distances.sum_between(real, fake, kernel, centre) / (len(real) * len(fake))
        )
    distances.check_finite(squared, "real and generated")
    return float(np.sqrt(max(squared, 0.0)))


def _compute(images: Comparison) -> Found:
    fake = images.fake.features[: images.kmmd_samples or None]
    return Found({"kmmd": kernel_mmd(images.real.features, fake)})


METRIC = Metric(_compute, better={"kmmd": LOWER})
