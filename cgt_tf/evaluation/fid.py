"""Frechet distance between two sets of features (FID when they are Inception features).

Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium"
(2017), equation 6, with sample covariances (n - 1). The trace of the matrix square root comes from
eigenvalues of symmetric matrices or from singular values, not from `scipy.linalg.sqrtm`, which is
slow, and unstable or complex for the singular covariances of fewer samples than features.

With centred rows X [n, d] and Y [m, d], tr sqrt(C1 C2) is the sum of the singular values of
X Y^T / sqrt((n - 1)(m - 1)): an n x m matrix, far smaller than d x d for a set of few samples.
"""

import functools
from typing import NamedTuple

import numpy as np

from cgt_tf.errors import InputError
from cgt_tf.evaluation import distances

# The n x m cross product is formed up to this many numbers: 128 MiB.
_CROSS_SIZE = 2**24


class GaussianStatistics:
    """Mean and sample covariance of a set of features, so that a reference is reduced only once.

    Attributes:
        mean: float64 [d].
        covariance: float64 [d, d], divided by count - 1; computed when first asked for if the
            statistics keep centred rows.
        count: the number of samples.
        rows: float64 [count, d], centred and divided by sqrt(count - 1), so that rows^T rows is the
            covariance; None unless made by `from_features` from at most d samples. They take no
            more memory than the covariance and give the distance faster and more exactly.
    """

    def __init__(self, mean: np.ndarray, covariance: np.ndarray, count: int) -> None:
        """Statistics that were computed before, such as a stored reference.

        Raises:
            InputError: shapes that do not belong together, or numbers that are not finite.
        """
        mean, covariance = np.asarray(mean, np.float64), np.asarray(covariance, np.float64)
        if mean.ndim != 1 or covariance.shape != (mean.size, mean.size) or count < 2:
            raise InputError(
                "expected mean [d], covariance [d, d] and count >= 2, got "
                f"{list(mean.shape)}, {list(covariance.shape)} and {count}"
            )
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
            raise InputError("expected finite mean and covariance, got NaN or infinity")
        self.mean, self.count, self.rows = mean, int(count), None
        self.covariance = covariance

    @classmethod
    def from_features(cls, features: np.ndarray, what: str = "the") -> "GaussianStatistics":
        """Reduces features [n, d] in float64, a few thousand rows at a time.

        Besides the features it takes three float64 [d, d] arrays at most: 0.1 GB for d = 2048.

        Raises:
            InputError: not 2-D, fewer than two samples, NaN, or values whose squares overflow.
        """
        features = distances.check_features(features, what)
        self = cls.__new__(cls)
        self.count, width = features.shape
        with np.errstate(over="ignore", invalid="ignore"):  # reported below
            self.mean = features.mean(axis=0, dtype=np.float64)
            if self.count <= width:
                self.rows = (features - self.mean) / np.sqrt(self.count - 1)
                distances.check_finite(np.vdot(self.rows, self.rows), what)
                return self
            scatter = np.zeros((width, width))
            for _, centred in distances.row_blocks(features, self.mean):
                scatter += centred.T @ centred
        distances.check_finite(scatter, what)
        self.rows, self.covariance = None, scatter / (self.count - 1)
        return self

    @functools.cached_property
    def covariance(self) -> np.ndarray:
        return self.rows.T @ self.rows

    @property
    def _rank_limit(self) -> int:
        return min(self.count - 1, self.mean.size)

    @functools.cached_property
    def _variance(self) -> float:
        """Trace of the covariance."""
        if self.rows is not None:
            return float(np.vdot(self.rows, self.rows))
        return float(np.trace(self.covariance))

    @functools.cached_property
    def _factor(self) -> np.ndarray:
        """F [r, d] with F^T F = covariance."""
        if self.rows is not None:
            return self.rows
        values, vectors = np.linalg.eigh(self.covariance)
        # Rounding noise around eigenvalue 0 is cut off.
        kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
        return (vectors[:, kept] * np.sqrt(values[kept])).T

    def distance(self, other: "GaussianStatistics") -> float:
        """Squared Frechet distance to `other`, a float >= 0.

        Raises:
            InputError: the numbers of features differ, or products of covariances overflow.
        """
        distances.check_widths(self.mean.size, other.mean.size)
        with np.errstate(over="ignore", invalid="ignore"):  # reported below
            root_trace = self._root_trace(other)
            difference = self.mean - other.mean
            spread = self._variance + other._variance - 2.0 * root_trace
            value = float(difference @ difference + spread)
        distances.check_finite(value, "real and generated")
        return max(value, 0.0)

    def _root_trace(self, other: "GaussianStatistics") -> float:
        """Trace of the square root of the product of the covariances."""
        if self.rows is not None and other.rows is not None:
            return _nuclear_norm(self.rows @ other.rows.T)
        # With C1 = F^T F, C1 C2 and F C2 F^T have the same non-zero eigenvalues, and the second is
        # symmetric. F comes from the set of lower rank: then few of the eigenvalues are zeros,
        # whose rounding noise the square root would magnify.
        low, high = (self, other) if self._rank_limit <= other._rank_limit else (other, self)
        product = low._factor @ high.covariance @ low._factor.T
        distances.check_finite(product, "real and generated")
        eigenvalues = np.linalg.eigvalsh(product)[-low._rank_limit :]
        return float(np.sqrt(np.maximum(eigenvalues, 0.0)).sum())


class FidInfinity(NamedTuple):
    """A Frechet distance extrapolated to infinitely many generated samples.

    Attributes:
        value: the intercept; can be negative for sets that hardly differ.
        slope: of the distance against 1 / count.
        counts: the numbers of generated samples that distances were computed at, int [points].
        distances: float [points].
        residual: root mean square distance of the points from the line: if it is not small against
            `value`, the line does not fit, and the value is not to be trusted.
    """

    value: float
    slope: float
    counts: np.ndarray
    distances: np.ndarray
    residual: float


def frechet_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """Squared Frechet distance between Gaussians fitted to two sets of features.

    Args:
        real: features of the real images [n, d], n >= 2.
        fake: features of the generated images [m, d], m >= 2.

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
        root_trace = _nuclear_norm(cross)
        difference = small.mean - mean
        value = difference @ difference + small._variance + variance - 2.0 * root_trace
    distances.check_finite(value, "real and generated")
    return max(float(value), 0.0)


def _nuclear_norm(matrix: np.ndarray) -> float:
    distances.check_finite(matrix, "real and generated")
    if matrix.shape[0] < matrix.shape[1]:
        matrix = matrix.T  # NumPy's singular values of a tall matrix come twice as fast
    return float(np.linalg.svd(matrix, compute_uv=False).sum())


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
        real: features of the real images [n, d], or their statistics.
        fake: features of the generated images [m, d].
        points: how many counts, at least 3; the last is m.
        minimum: the first count, in [2, m - points + 1]. Default: a tenth of m, as in the paper.
        seed: of the draws.

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
