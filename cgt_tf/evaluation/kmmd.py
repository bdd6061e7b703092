"""Kernel maximum mean discrepancy (KMMD) as cGANTransfer reports it.

Shahbazi et al., "Efficient Conditional GAN Transfer with Knowledge Propagation across Classes"
(CVPR 2021); the number follows the evaluation code released with that paper: a Gaussian kernel
whose bandwidth is the mean squared distance among the real samples, means that include the
diagonal (the biased estimate), and the square root of the result. It is not symmetric. The released
code rounds distances to float32; here they are float64 throughout (a difference of 1e-6 relative).
"""

from collections.abc import Iterator

import numpy as np

from cgt_tf.errors import InputError
from cgt_tf.evaluation.fid import check_features

_BLOCK = 2048


def kernel_mmd(real: np.ndarray, fake: np.ndarray, sigma: float = 1.0) -> float:
    """sqrt(mean k(real, real) + mean k(fake, fake) - 2 mean k(real, fake)).

    k(x, y) = exp(-|x - y|^2 / (2 sigma^2 m)), m = mean of |x - x'|^2 over all pairs of real
    samples, those of a sample with itself included.

    Args:
        real: features of the real images [n, d], n >= 2, not all equal.
        fake: features of the generated images [m, d], m >= 2.
        sigma: scale of the bandwidth, > 0.

    Returns:
        A float in [0, sqrt(2)]. Distances are computed in blocks, so memory stays at the size of
        the float64 features plus some tens of MB; time grows with (n + m)^2 d.

    Raises:
        InputError: not 2-D, fewer than two samples, NaN, different widths, real samples that are
            all equal, or a sigma that is not positive.
    """
    real = check_features(real, "real").astype(np.float64)
    fake = check_features(fake, "generated").astype(np.float64)
    if real.shape[1] != fake.shape[1]:
        raise InputError(
            "expected real and generated features of one width, got "
            f"{real.shape[1]} and {fake.shape[1]}"
        )
    if not (np.isfinite(sigma) and sigma > 0):
        raise InputError(f"expected sigma > 0, got {sigma}")
    if (real == real[0]).all():
        raise InputError(
            f"expected real features that differ between samples, got {len(real)} equal rows"
        )
    # Centring changes no distance and keeps |x|^2 + |y|^2 - 2 x.y accurate.
    centre = real.mean(axis=0)
    real -= centre
    fake -= centre
    # The mean squared distance over all pairs is twice the mean squared norm of centred rows.
    bandwidth = 2.0 * sigma**2 * 2.0 * np.mean(np.sum(real * real, axis=1))
    if not (np.isfinite(bandwidth) and bandwidth > 0):
        raise InputError(f"expected features of usual magnitude, got a bandwidth of {bandwidth}")
    squared = (
        _mean_kernel_within(real, bandwidth)
        + _mean_kernel_within(fake, bandwidth)
        - 2.0 * _mean_kernel_between(real, fake, bandwidth)
    )
    return float(np.sqrt(max(squared, 0.0)))


def _blocks(rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(rows), _BLOCK):
        yield start, rows[start : start + _BLOCK]


def _squared_distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    norms = np.sum(left * left, axis=1)[:, None] + np.sum(right * right, axis=1)[None, :]
    return np.maximum(norms - 2.0 * (left @ right.T), 0.0)


def _mean_kernel_between(left: np.ndarray, right: np.ndarray, bandwidth: float) -> float:
    total = 0.0
    for _, left_block in _blocks(left):
        for _, right_block in _blocks(right):
            total += np.exp(_squared_distances(left_block, right_block) / -bandwidth).sum()
    return total / (len(left) * len(right))


def _mean_kernel_within(rows: np.ndarray, bandwidth: float) -> float:
    """As `_mean_kernel_between(rows, rows)`, at half the work and with an exact diagonal."""
    total = 0.0
    for start, block in _blocks(rows):
        for other_start, other_block in _blocks(rows[start:]):
            distances = _squared_distances(block, other_block)
            if other_start == 0:
                np.fill_diagonal(distances, 0.0)
            kernel_sum = np.exp(distances / -bandwidth).sum()
            total += kernel_sum if other_start == 0 else 2.0 * kernel_sum
    return total / len(rows) ** 2
