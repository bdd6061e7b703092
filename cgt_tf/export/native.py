"""Writes old and new classes as a model directory: a source of further transfers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cgt_tf.export.card import write_card
from cgt_tf.export.difference import largest_difference
from cgt_tf.formats.native import save_model
from cgt_tf.networks.extended import extended_from
from cgt_tf.networks.gan import Gan


def export_native(
    gan: Gan, directory: str | Path, provenance: dict, precision: str, told: Mapping[str, Any]
) -> tuple[Path, float]:
    """Writes a GAN with a model card.

    Args:
        gan: All classes.
        directory: New, or empty.
        provenance: JSON of where the weights come from.
        precision: float32 or float16, of the stored weights.
        told: See `card.write_card`.

    Returns:
        The directory, and how far images move by the precision, in grey levels of 255.

    Raises:
        InputError: see `formats.native.save_model`.
    """
    path = save_model(gan, directory, provenance, precision)
    extended = extended_from(gan)
    write_card(extended, path, told)
    return path, 0.0 if precision == "float32" else largest_difference(extended, path)
