"""How far images move when a generator is stored with fewer bits."""

from pathlib import Path

import numpy as np

from cgt_tf.formats.native import read_model
from cgt_tf.latents import latents_from_seeds
from cgt_tf.networks.extended import ExtendedGenerator, extended_from
from cgt_tf.networks.gan import Gan

_SAMPLES, _BATCH = 256, 32
# From [-1, 1] to 0 ... 255.
_GREY_LEVELS = 127.5


def largest_difference(generator: ExtendedGenerator, model: Path) -> float:
    """Largest difference between a generator's images and those of its stored form.

    Args:
        generator: A generator in memory.
        model: Directory that `native.save_model` wrote of it.

    Returns:
        Of 256 images of classes from the first to the last, in grey levels of 255.
    """
    read = read_model(model)
    stored = extended_from(Gan(read.spec, read.generator, None, read.class_names))
    labels = np.linspace(0, generator.spec.num_classes - 1, _SAMPLES).round().astype(np.int32)
    largest = 0.0
    for start in range(0, _SAMPLES, _BATCH):
        part = np.arange(start, start + _BATCH)
        z = latents_from_seeds(part, generator.spec.dim_z)
        images = [np.asarray(g(z, labels[part]), np.float32) for g in (generator, stored)]
        largest = max(largest, float(np.abs(images[0] - images[1]).max()))
    return largest * _GREY_LEVELS
