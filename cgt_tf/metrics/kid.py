"""Kernel distance between two sets of features (KID when they are Inception features).

Binkowski et al., "Demystifying MMD GANs" (ICLR 2018), section 4: the squared maximum mean
discrepancy for the kernel (x.y / d + 1)^3, in its unbiased form, which leaves out the pairs of a
sample with itself. Unlike FID its expectation does not depend on the numbers of samples, so it
suits small sets; it can be slightly negative.
"""

from typing import NamedTuple

import numpy as np

from cgt_tf.errors import InputError
from cgt_tf.metrics import distances
from cgt_tf.metrics.metric import LOWER, Comparison, Found, Metric

_SUBSETS, _SUBSET_SIZE = 100, 1000


class KernelDistance(NamedTuple):
    """A kernel distance with its uncertainty.

    Attributes:
        mean: Over the subsets.
        standard_error: Standard error of `mean`. Subsets that overlap are not independent: no more
            of them than fit side by side into the smaller set are counted, so drawing more does not
            shrink it.
        deviation: Sample standard deviation over the subsets, which other projects report.
    """

    mean: float
    standard_error: float
    deviation: float


def kernel_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """Unbiased squared MMD of the cubic polynomial kernel, over the whole sets.

    Args:
        real: Features of the real images [n, d], n >= 2.
        fake: Features of the generated images [m, d], m >= 2.

    Returns:
        A float, zero in expectation for two sets drawn from one distribution. A set against itself
        gives slightly less than 0, -2/n times the difference of the kernel's means on and off the
        diagonal, since only the pairs between the sets include samples with themselves. Computed
        in float64 blocks: memory stays at the size of the given features plus 0.2 GB; time grows
        with (n + m)^2 d.

    Raises:
        InputError: not 2-D, fewer than two samples, NaN, different widths, or an overflow.
    """
    real, fake = distances.check_pair(real, fake)
    return _kernel_distance(real, fake)


def kernel_distance_subsets(
    real: np.ndarray, fake: np.ndarray, subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> KernelDistance:
    """Kernel distances of random subsets, as the paper computes them.

    Args:
        real: Features of the real images [n, d], n >= subset_size.
        fake: Features of the generated images [m, d], m >= subset_size.
        subsets: How many, at least 2.
        subset_size: Samples drawn from each set, without replacement, at least 2.
        seed: Seed of the draws.

    Raises:
        InputError: as `kernel_distance`; sets smaller than a subset; numbers below 2.
    """
    real, fake = distances.check_pair(real, fake)
    smaller = min(len(real), len(fake))
    if subsets < 2:
        raise InputError(f"expected at least 2 subsets, got {subsets}")
    if not 2 <= subset_size <= smaller:
        raise InputError(f"expected subset_size in [2, {smaller}], got {subset_size}")
    generator = np.random.default_rng(seed)
    values = []
    for _ in range(subsets):
        chosen = [
            features[generator.choice(len(features), subset_size, replace=False)]
            for features in (real, fake)
        ]
        values.append(_kernel_distance(*chosen))
    deviation = float(np.std(values, ddof=1))
    independent = min(subsets, smaller / subset_size)
    return KernelDistance(float(np.mean(values)), deviation / independent**0.5, deviation)


def _kernel_distance(real: np.ndarray, fake: np.ndarray) -> float:
    with np.errstate(over="ignore", invalid="ignore"):  # reported below
        value = (
            distances.sum_within(real, _cubic_kernel) / (len(real) * (len(real) - 1))
            + distances.sum_within(fake, _cubic_kernel) / (len(fake) * (len(fake) - 1))
            - 2.0 * distances.sum_between(real, fake, _cubic_kernel) / (len(real) * len(fake))
        )
    distances.check_finite(value, "real and generated")
    return value


def _cubic_kernel(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    base = left @ right.T
    base /= left.shape[1]
    base += 1.0
    values = base * base
    values *= base
    return values


def _compute(images: Comparison) -> Found:
    real, fake = images.real.features, images.fake.features
    scalars = {"kid": kernel_distance(real, fake)}
    # Subsets of at most half the images: of the whole set there is one only.
    size = min(_SUBSET_SIZE, min(len(real), len(fake)) // 2)
    if size >= 2:
        result = kernel_distance_subsets(real, fake, _SUBSETS, size, images.seed)
        scalars["kid_standard_error"] = result.standard_error
    return Found(scalars)


METRIC = Metric(_compute, better={"kid": LOWER})
