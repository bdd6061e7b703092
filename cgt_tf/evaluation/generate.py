"""Draws the images that a generator is measured by: balanced labels, seeded latents."""

from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from cgt_tf.data.pipeline import to_uint8
from cgt_tf.errors import InputError

SampleFn = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
LABEL_SAMPLING = "balanced: label i of n is i mod K"

# Latents are drawn in chunks of this size whatever the batch size is, so that a change of the
# batch size changes no image.
_CHUNK = 100
_TOLERANCE = 1e-3


def draw_latents(
    seed: int, start: int, stop: int, dim_z: int, truncation: float = 1.0
) -> tf.Tensor:
    """Latents number `start` to `stop` (excluded) of the endless sequence that `seed` stands for.

    Args:
        seed: any int64.
        start: first index, >= 0.
        stop: past the last index.
        dim_z: width of a latent.
        truncation: 1 draws standard normals, as published FIDs do; t < 1 draws t times a normal
            cut to [-2, 2], as the BigGAN modules on TF-Hub advise.

    Returns:
        float32 [stop - start, dim_z].
    """
    draw = tf.random.stateless_normal if truncation == 1 else tf.random.stateless_truncated_normal
    first = start // _CHUNK
    chunks = [
        draw([_CHUNK, dim_z], seed=tf.constant([seed, chunk], tf.int64))
        for chunk in range(first, -(-stop // _CHUNK))
    ]
    latents = tf.concat(chunks, axis=0)[start - first * _CHUNK : stop - first * _CHUNK]
    return latents * truncation


def generate_images(
    sample_fn: SampleFn,
    num_samples: int,
    num_classes: int,
    batch_size: int = 100,
    seed: int = 0,
    dim_z: int = 128,
    truncation: float = 1.0,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields batches of images uint8 [b, H, W, 3] and their labels int32 [b].

    Image i has label i mod num_classes and the i-th latent of the seed, whatever the batch size.

    Args:
        sample_fn: z float32 [batch_size, dim_z], labels int32 [batch_size] -> images float32
            [batch_size, H, W, 3] in [-1, 1]. It always gets full batches; the surplus of the last
            one is dropped.
        num_samples: number of images, >= 1.
        num_classes: labels are 0 to num_classes - 1.
        batch_size: images per call of `sample_fn`.
        seed: seed of the latents, an int64.
        dim_z: width of a latent.
        truncation: in (0, 1]; see `draw_latents`.

    Raises:
        InputError: a count below 1, a truncation outside (0, 1], or `sample_fn` returning another
            shape, a non-floating dtype, NaN or values outside [-1, 1].
    """
    counts = {
        "num_samples": num_samples,
        "num_classes": num_classes,
        "batch_size": batch_size,
        "dim_z": dim_z,
    }
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"expected {name} of at least 1, got {count}")
    if not 0 < truncation <= 1:
        raise InputError(f"expected a truncation in (0, 1], got {truncation}")
    return _batches(sample_fn, num_samples, num_classes, batch_size, seed, dim_z, truncation)


def _batches(
    sample_fn: SampleFn,
    num_samples: int,
    num_classes: int,
    batch_size: int,
    seed: int,
    dim_z: int,
    truncation: float,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, num_samples, batch_size):
        latents = draw_latents(seed, start, start + batch_size, dim_z, truncation)
        labels = (np.arange(start, start + batch_size) % num_classes).astype(np.int32)
        images = _checked(sample_fn(latents, tf.constant(labels)), batch_size, start)
        count = min(batch_size, num_samples - start)
        yield to_uint8(images[:count]).numpy(), labels[:count]


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
