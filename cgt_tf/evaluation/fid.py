"""Frechet distance between two sets of features (FID when they are Inception features).

Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium"
(2017), equation 6, with sample covariances (n - 1). The trace of the matrix square root comes from
eigenvalues of symmetric matrices, not from `scipy.linalg.sqrtm`, which is unstable or complex for
the singular covariances of fewer samples than features.
"""

import dataclasses
import functools

import numpy as np

from cgt_tf.errors import InputError

_ROWS = 4096


def check_features(features: np.ndarray, what: str) -> np.ndarray:
    """Returns `features` as an array if it is [n >= 2, d >= 1], real and finite.

    Args:
        features: array-like [n, d].
        what: what the features are of, for the message, such as "real".

    Raises:
        InputError: anything else.
    """
    expected = f"expected {what} features [n, d] with n >= 2 and finite real numbers"
    try:
        array = np.asarray(features)
    except ValueError as error:
        raise InputError(f"{expected}, got rows of unequal length") from error
    if array.dtype.kind not in "fiu":
        raise InputError(f"{expected}, got dtype {array.dtype}")
    if array.ndim != 2 or array.shape[0] < 2 or array.shape[1] < 1:
        raise InputError(f"{expected}, got shape {list(array.shape)}")
    finite = np.isfinite(array).all(axis=1)
    if not finite.all():
        raise InputError(f"{expected}, got NaN or infinity in {np.sum(~finite)} of {len(array)}")
    return array


@dataclasses.dataclass(frozen=True, eq=False)
class GaussianStatistics:
    """Mean and sample covariance of a set of features, so that a reference is reduced only once.

    Attributes:
        mean: float64 [d].
        covariance: float64 [d, d], divided by count - 1.
        count: the number of samples.
    """

    mean: np.ndarray
    covariance: np.ndarray
    count: int

    @classmethod
    def from_features(cls, features: np.ndarray, what: str = "the") -> "GaussianStatistics":
        """Reduces features [n, d] in float64, a few thousand rows at a time.

        Raises:
            InputError: not 2-D, fewer than two samples, NaN, or values whose squares overflow.
        """
        features = check_features(features, what)
        mean = features.mean(axis=0, dtype=np.float64)
        scatter = np.zeros((features.shape[1], features.shape[1]))
        for start in range(0, len(features), _ROWS):
            centred = features[start : start + _ROWS].astype(np.float64) - mean
            with np.errstate(over="ignore"):  # reported below
                scatter += centred.T @ centred
        if not np.isfinite(scatter).all():
            raise InputError(f"expected {what} features of usual magnitude, got an overflow")
        return cls(mean, scatter / (len(features) - 1), len(features))

    @property
    def _rank_limit(self) -> int:
        return min(self.count - 1, self.mean.size)

    @functools.cached_property
    def _factor(self) -> np.ndarray:
        """F [d, rank] with F F^T = covariance; rounding noise around eigenvalue 0 is cut off."""
        values, vectors = np.linalg.eigh(self.covariance)
        kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
        return vectors[:, kept] * np.sqrt(values[kept])

    def distance(self, other: "GaussianStatistics") -> float:
        """Squared Frechet distance to `other`, a float >= 0.

        Raises:
            InputError: the numbers of features differ.
        """
        if self.mean.shape != other.mean.shape:
            raise InputError(
                "expected real and generated features of one width, got "
                f"{self.mean.size} and {other.mean.size}"
            )
        # With C1 = F F^T, C1 C2 and F^T C2 F have the same non-zero eigenvalues, and the second is
        # symmetric. F comes from the set of lower rank: then few of the eigenvalues are zeros,
        # whose rounding noise the square root would magnify.
        low, high = (self, other) if self._rank_limit <= other._rank_limit else (other, self)
        eigenvalues = np.linalg.eigvalsh(low._factor.T @ high.covariance @ low._factor)
        root_trace = np.sqrt(np.maximum(eigenvalues, 0.0)).sum()
        difference = self.mean - other.mean
        spread = np.trace(self.covariance) + np.trace(other.covariance) - 2.0 * root_trace
        return max(float(difference @ difference + spread), 0.0)


def frechet_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """Squared Frechet distance between Gaussians fitted to two sets of features.

    Args:
        real: features of the real images [n, d], n >= 2.
        fake: features of the generated images [m, d], m >= 2.

    Returns:
        A float >= 0, in float64. It is biased upwards for few samples; below d + 1 samples a
        covariance is singular and numbers are only comparable at equal n and m.

    Raises:
        InputError: not 2-D, fewer than two samples, NaN, or different widths.
    """
    statistics = GaussianStatistics.from_features(real, "real")
    return statistics.distance(GaussianStatistics.from_features(fake, "generated"))
