"""How far images move when a generator is stored with fewer bits."""

from collections.abc import Callable

import numpy as np

from cgt_tf.latents import latents_from_seeds
from cgt_tf.networks.extended import ExtendedGenerator

_SAMPLES, _BATCH = 256, 32
# From [-1, 1] to 0 ... 255.
_GREY_LEVELS = 127.5


def largest_difference(
    generator: ExtendedGenerator, stored: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> float:
    """Largest difference between a generator's images and those of its stored form.

    Args:
        generator: A generator in memory.
        stored: Images in [-1, 1] of its stored form, of latents [B, dim_z] and labels int32 [B].

    Returns:
        Of 256 images of classes from the first to the last, in grey levels of 255.
    """
    labels = np.linspace(0, generator.spec.num_classes - 1, _SAMPLES).round().astype(np.int32)
    largest = 0.0
    for start in range(0, _SAMPLES, _BATCH):
        part = np.arange(start, start + _BATCH)
        z = latents_from_seeds(part, generator.spec.dim_z)
        images = [np.asarray(g(z, labels[part]), np.float32) for g in (generator, stored)]
        largest = max(largest, float(np.abs(images[0] - images[1]).max()))
    return largest * _GREY_LEVELS
