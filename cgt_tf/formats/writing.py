"""The formats that a GAN can be written in."""

from pathlib import Path

from cgt_tf.formats import biggan_pytorch, native
from cgt_tf.networks.gan import Gan


def write(gan: Gan, directory: str | Path, form: str, provenance: dict) -> list[str]:
    """Writes a GAN, all or nothing.

    Args:
        gan: To write.
        directory: New, or empty.
        form: Native, see `native.save_model`, or pth, see `biggan_pytorch.write_pth`.
        provenance: JSON of where the weights come from; a .pth file has no place for it.

    Returns:
        What was written and what to know of it, one line each.

    Raises:
        InputError: see those two.
    """
    if form == "native":
        path = native.save_model(gan, directory, provenance)
        return [f"written; use it with --config.source=model:{path}"]
    files = biggan_pytorch.write_pth(gan, directory)
    notes = biggan_pytorch.export_notes(gan.spec)
    return [*(f"written: {path}" for path in files), *(f"note: {note}" for note in notes)]
