"""Draws the images that a generator is measured by: seeded labels and latents."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from cgt_tf.data.pipeline import to_uint8
from cgt_tf.errors import InputError
from cgt_tf.features.replicas import rounded_up, share_rows
from cgt_tf.latents import draw_latents

SampleFn = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
LABEL_RULES = {
    "uniform": "uniform: label i of n is i mod K",
    "as_data": "as_data: in the reference's proportions, shuffled",
}

# Latents are drawn in chunks of this size whatever the batch size is, so that a change of the
# batch size changes no image.
_TOLERANCE = 1e-3


def draw_labels(
    sampling: str, num_samples: int, num_classes: int, counts: Sequence[int] = (), seed: int = 0
) -> np.ndarray:
    """Labels int32 [num_samples] in [0, num_classes).

    Args:
        sampling: `uniform` is i mod num_classes: equal numbers, up to one. `as_data` is in
            proportion to `counts`, by largest remainders, in an order shuffled by the seed.
        num_samples: At least num_classes, so that no class is left out.
        num_classes: At least 1.
        counts: Images of each class, for `as_data`.
        seed: Seed of the shuffle, not negative.

    Raises:
        InputError: values out of range, fewer samples than classes, or a class left without one.
    """
    if num_classes < 1 or num_samples < num_classes:
        raise InputError(
            f"expected at least one sample for each of {num_classes} classes, got "
            f"{num_samples} samples"
        )
    if sampling == "uniform":
        return (np.arange(num_samples) % num_classes).astype(np.int32)
    if sampling != "as_data":
        raise InputError(f"expected label sampling out of {list(LABEL_RULES)}, got {sampling!r}")
    if len(counts) != num_classes or min(counts) < 1 or seed < 0:
        raise InputError(
            f"expected a count above 0 for each of {num_classes} classes and a seed of at least 0, "
            f"got {list(counts)} and {seed}"
        )
    shares = np.asarray(counts, np.float64) * num_samples / np.sum(counts)
    numbers = np.floor(shares).astype(np.int64)
    largest = np.argsort(numbers - shares, kind="stable")[: num_samples - numbers.sum()]
    numbers[largest] += 1
    if numbers.min() < 1:
        raise InputError(
            f"expected enough samples for the rarest of {num_classes} classes, got {num_samples} "
            f"for {min(counts)} of {sum(counts)} images"
        )
    # NumPy keeps the raw stream of a bit generator for ever, unlike the methods of its Generator.
    order = np.argsort(np.random.PCG64(seed).random_raw(num_samples), kind="stable")
    return np.repeat(np.arange(num_classes, dtype=np.int32), numbers)[order]


def generate_images(
    sample_fn: SampleFn,
    labels: np.ndarray,
    dim_z: int,
    *,
    batch_size: int = 100,
    seed: int = 0,
    truncation: float = 1.0,
) -> Iterator[np.ndarray]:
    """Yields batches of images uint8 [b, H, W, 3] of the labels, in their order.

    Image i has label labels[i] and the i-th latent of the seed, whatever the batch size.

    Args:
        sample_fn: z float32 [batch_size, dim_z], labels int32 [batch_size] -> images float32
            [batch_size, H, W, 3] in [-1, 1]. It always gets full batches; the surplus of the last
            one is dropped.
        labels: int32 [n], n >= 1; see `draw_labels`.
        dim_z: Width of a latent.
        batch_size: Images per call of `sample_fn`.
        seed: Seed of the latents, an int64.
        truncation: In (0, 1]; see `draw_latents`.

    Raises:
        InputError: no labels, a count below 1, a truncation outside (0, 1], or `sample_fn`
            returning another shape, a non-floating dtype, NaN or values outside [-1, 1].
    """
    for name, count in {"labels": len(labels), "batch_size": batch_size, "dim_z": dim_z}.items():
        if count < 1:
            raise InputError(f"expected {name} of at least 1, got {count}")
    if not 0 < truncation <= 1:
        raise InputError(f"expected a truncation in (0, 1], got {truncation}")
    return _batches(sample_fn, labels, dim_z, batch_size, seed, truncation)


def under_strategy(
    strategy: tf.distribute.Strategy | None, sample_fn: SampleFn, batch_size: int
) -> tuple[SampleFn, int]:
    """`sample_fn` compiled so that each replica draws its share, and the batch size to use it with.

    Args:
        strategy: See `replicas.share_rows`.
        sample_fn: As for `generate_images`, not compiled; its variables are of that strategy.
        batch_size: Wanted; rounded up to a multiple of the replicas.
    """
    return share_rows(strategy, sample_fn), rounded_up(batch_size, strategy)


def _batches(
    sample_fn: SampleFn,
    labels: np.ndarray,
    dim_z: int,
    batch_size: int,
    seed: int,
    truncation: float,
) -> Iterator[np.ndarray]:
    for start in range(0, len(labels), batch_size):
        latents = draw_latents(seed, start, start + batch_size, dim_z, truncation)
        batch = np.resize(labels[start : start + batch_size], batch_size).astype(np.int32)
        images = _checked(sample_fn(latents, tf.constant(batch)), batch_size, start)
        yield to_uint8(images[: len(labels) - start]).numpy()


def _checked(images: tf.Tensor, batch_size: int, start: int) -> np.ndarray:
    array = np.asarray(images)
    if array.ndim != 4 or array.shape[0] != batch_size or array.shape[-1] != 3:
        raise InputError(
            f"expected the generator to return images [{batch_size}, H, W, 3], got "
            f"{list(array.shape)}"
        )
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(
            f"expected the generator to return floats in [-1, 1], got {array.dtype} values"
        )
    if not np.isfinite(array).all():
        raise InputError(
            "expected finite images from the generator, got NaN or infinity among samples "
            f"{start} to {start + batch_size - 1}"
        )
    largest = np.abs(array).max()
    if largest > 1 + _TOLERANCE:
        raise InputError(f"expected generated images in [-1, 1], got a value of size {largest:g}")
    return array
