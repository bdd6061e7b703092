"""How far images move when a generator is stored with fewer bits."""

from collections.abc import Callable

import numpy as np

from cgt_tf.latents import latents_from_seeds
from cgt_tf.networks.spec import GanSpec

_SAMPLES, _BATCH = 256, 32
# From [-1, 1] to 0 ... 255.
GREY_LEVELS = 127.5

Images = Callable[[np.ndarray, np.ndarray], np.ndarray]


def largest_difference(
    spec: GanSpec, generator: Images, stored: Images, samples: int = _SAMPLES
) -> float:
    """Largest difference between a generator's images and those of its stored form.

    Args:
        spec: The generator's.
        generator: Images in [-1, 1] of latents [B, dim_z] and labels int32 [B].
        stored: The same of its stored form.
        samples: How many images are compared, a multiple of 32.

    Returns:
        Of images of classes from the first to the last, in grey levels of 255.
    """
    labels = np.linspace(0, spec.num_classes - 1, samples).round().astype(np.int32)
    largest = 0.0
    for start in range(0, samples, _BATCH):
        part = np.arange(start, start + _BATCH)
        z = latents_from_seeds(part, spec.dim_z)
        images = [np.asarray(g(z, labels[part]), np.float32) for g in (generator, stored)]
        largest = max(largest, float(np.abs(images[0] - images[1]).max()))
    return largest * GREY_LEVELS
