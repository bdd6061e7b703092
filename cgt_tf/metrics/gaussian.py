"""Gaussians fitted to features, and the Frechet distance of two of them.

The trace of the matrix square root comes from eigenvalues of symmetric matrices or from singular
values, not from `scipy.linalg.sqrtm`, which is slow, and unstable or complex for the singular
covariances of fewer samples than features.
"""

import functools

import numpy as np

from cgt_tf.errors import InputError
from cgt_tf.metrics import distances


class GaussianStatistics:
    """Mean and sample covariance of a set of features, so that a reference is reduced only once.

    Attributes:
        mean: float64 [d].
        covariance: float64 [d, d], divided by count - 1; computed when first asked for if the
            statistics keep centred rows.
        count: The number of samples.
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
    def variance(self) -> float:
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
            spread = self.variance + other.variance - 2.0 * root_trace
            value = float(difference @ difference + spread)
        distances.check_finite(value, "real and generated")
        return max(value, 0.0)

    def _root_trace(self, other: "GaussianStatistics") -> float:
        """Trace of the square root of the product of the covariances."""
        if self.rows is not None and other.rows is not None:
            return nuclear_norm(self.rows @ other.rows.T)
        # With C1 = F^T F, C1 C2 and F C2 F^T have the same non-zero eigenvalues, and the second is
        # symmetric. F comes from the set of lower rank: then few of the eigenvalues are zeros,
        # whose rounding noise the square root would magnify.
        low, high = (self, other) if self._rank_limit <= other._rank_limit else (other, self)
        product = low._factor @ high.covariance @ low._factor.T
        distances.check_finite(product, "real and generated")
        eigenvalues = np.linalg.eigvalsh(product)[-low._rank_limit :]
        return float(np.sqrt(np.maximum(eigenvalues, 0.0)).sum())


def nuclear_norm(matrix: np.ndarray) -> float:
    """Sum of the singular values."""
    distances.check_finite(matrix, "real and generated")
    if matrix.shape[0] < matrix.shape[1]:
        matrix = matrix.T  # NumPy's singular values of a tall matrix come twice as fast
    return float(np.linalg.svd(matrix, compute_uv=False).sum())
