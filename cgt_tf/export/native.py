"""Writes old and new classes as a model directory: a source of further transfers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cgt_tf.drawing.sampler import GanSampler
from cgt_tf.export.card import Weights, write_card
from cgt_tf.export.difference import largest_difference
from cgt_tf.formats.native import read_model, save_model
from cgt_tf.networks.extended import extended_from
from cgt_tf.networks.gan import Gan


def export_native(
    gan: Gan, directory: str | Path, provenance: dict, precision: str, told: Mapping[str, Any]
) -> Path:
    """Writes a GAN with a model card.

    Args:
        gan: All classes.
        directory: New, or empty.
        provenance: JSON of where the weights come from.
        precision: float32 or float16, of the stored weights.
        told: See `card.write_card`.

    Returns:
        The directory.

    Raises:
        InputError: see `formats.native.save_model`.
    """
    path = save_model(gan, directory, provenance, precision)
    extended = extended_from(gan)
    weights = Weights(precision)
    if precision != "float32":
        read = read_model(path)
        stored = extended_from(Gan(read.spec, read.generator, None, read.class_names))
        weights = Weights(precision, largest_difference(extended.spec, extended, stored))
    sampler = GanSampler(gan, gan.class_names)
    write_card(extended, path, told, weights, sampler.sample)
    return path
