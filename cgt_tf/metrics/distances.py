"""What the metrics share: checked feature arrays, float64 blocks of rows, sums and neighbours.

Nothing here makes an n x n array or a float64 copy of all features: 50,000 x 2048 features against
as many are 0.8 GB as float32, and the blocks add less than 0.3 GB to that.
"""

from collections.abc import Callable, Iterator

import numpy as np

from cgt_tf.errors import InputError

# Rows per block: 2048 x 2048 float64 is 32 MiB, and a matrix product is at full speed there.
BLOCK = 2048

# Squared distances below this share of |x|^2 + |y|^2 are rounding noise: a distance of 1e-7 of the
# norms, where float32 features end. They count as 0, so that copies have distance 0.
_NOISE = 1e-14

BlockKernel = Callable[[np.ndarray, np.ndarray], np.ndarray]


def check_features(features: np.ndarray, what: str, minimum: int = 2) -> np.ndarray:
    """Returns `features` as an array if it is [n >= minimum, d >= 1], real and finite.

    Args:
        features: Array-like [n, d].
        what: What the features are of, for the message, such as "real".
        minimum: The least number of samples.

    Raises:
        InputError: anything else.
    """
    expected = f"expected {what} features [n, d] with n >= {minimum} and finite real numbers"
    try:
        array = np.asarray(features)
    except ValueError as error:
        raise InputError(f"{expected}, got rows of unequal length") from error
    if array.dtype.kind not in "fiu":
        raise InputError(f"{expected}, got dtype {array.dtype}")
    if array.ndim != 2 or array.shape[0] < minimum or array.shape[1] < 1:
        raise InputError(f"{expected}, got shape {list(array.shape)}")
    bad = sum(
        int((~np.isfinite(array[start : start + BLOCK]).all(axis=1)).sum())
        for start in range(0, len(array), BLOCK)
    )
    if bad:
        raise InputError(f"{expected}, got NaN or infinity in {bad} of {len(array)}")
    return array


def check_pair(real: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Checks the features of real and of generated images, which must be of one width."""
    real, fake = check_features(real, "real"), check_features(fake, "generated")
    check_widths(real.shape[1], fake.shape[1])
    return real, fake


def check_widths(real: int, other: int, what: str = "generated") -> None:
    """Raises an InputError unless both sets have the same number of features."""
    if real != other:
        raise InputError(f"expected real and {what} features of one width, got {real} and {other}")


def check_not_constant(real: np.ndarray) -> None:
    """Raises an InputError if all rows are equal: there is no scale to measure distances by."""
    if (real == real[0]).all():
        raise InputError(
            f"expected real features that differ between samples, got {len(real)} equal rows"
        )


def check_finite(value: np.ndarray | float, what: str = "the") -> None:
    """Raises an InputError if `value`, computed from finite features, is not finite."""
    if not np.isfinite(value).all():
        raise InputError(f"expected {what} features of usual magnitude, got an overflow")


def row_blocks(
    rows: np.ndarray, centre: np.ndarray | float = 0.0, start: int = 0
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (position, rows - centre as float64) for blocks of rows from `start` on."""
    for position in range(start, len(rows), BLOCK):
        yield position, rows[position : position + BLOCK].astype(np.float64) - centre


def squared_distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Squared euclidean distances float64 [n, m] of the rows of two float64 blocks.

    They come from |x|^2 + |y|^2 - 2 x.y, which is accurate for rows near the origin only: subtract
    a common centre first.
    """
    distances = left @ right.T
    norms = np.einsum("ij,ij->i", left, left)[:, None] + np.einsum("ij,ij->i", right, right)
    distances *= -2.0
    distances += norms
    norms *= _NOISE
    distances[distances < norms] = 0.0
    return distances


def sum_between(
    left: np.ndarray, right: np.ndarray, kernel: BlockKernel, centre: np.ndarray | float = 0.0
) -> float:
    """Sum of kernel(x, y) over all pairs of a row of `left` and one of `right`, minus `centre`."""
    total = 0.0
    for _, left_block in row_blocks(left, centre):
        for _, right_block in row_blocks(right, centre):
            total += float(kernel(left_block, right_block).sum())
    return total


def sum_within(rows: np.ndarray, kernel: BlockKernel, centre: np.ndarray | float = 0.0) -> float:
    """Sum of a symmetric kernel over all ordered pairs of two different rows."""
    total = 0.0
    for start, block in row_blocks(rows, centre):
        for other_start, other in row_blocks(rows, centre, start):
            values = kernel(block, other)
            if other_start == start:
                np.fill_diagonal(values, 0.0)
                total += float(values.sum())
            else:
                total += 2.0 * float(values.sum())
    return total


def kth_squared_distances(rows: np.ndarray, k: int, centre: np.ndarray) -> np.ndarray:
    """Squared distance float64 [n] of every row to its k-th nearest other row, 1 <= k < n."""
    nearest = np.full((len(rows), k), np.inf)

    def merge(start: int, distances: np.ndarray) -> None:
        mine = nearest[start : start + len(distances)]
        mine[:] = np.partition(np.concatenate([mine, distances], axis=1), k - 1, axis=1)[:, :k]

    for start, block in row_blocks(rows, centre):
        for other_start, other in row_blocks(rows, centre, start):
            distances = squared_distances(block, other)
            if other_start == start:
                np.fill_diagonal(distances, np.inf)
            else:
                merge(other_start, distances.T)
            merge(start, distances)
    return nearest.max(axis=1)
