"""Re-estimated batch-norm statistics of an imported generator."""

import dataclasses

from cgt_tf.errors import InputError
from cgt_tf.formats.imported import Imported
from cgt_tf.networks.fold import copy_all
from cgt_tf.networks.gan import create_generator
from cgt_tf.networks.standing import assign_statistics, draw_batches, estimate_statistics


def with_standing_statistics(
    imported: Imported, batches: int, batch_size: int, truncation: float, seed: int = 0
) -> Imported:
    """The same networks with one set of standing statistics, for one truncation.

    Args:
        imported: Its generator is left as it is.
        batches, batch_size: How many batches are averaged, and their images.
        truncation: Truncation of the latents, in (0, 1].
        seed: Seed of latents and labels.

    Raises:
        InputError: a generator of several domains.
    """
    if imported.spec.domain_classes:
        raise InputError("--standing_stats is for sources of one domain, not for extended ones")
    spec = dataclasses.replace(imported.spec, truncation_grid=())
    draws = draw_batches(imported.spec, batches, batch_size, truncation, seed)
    values = estimate_statistics(imported.generator, draws)
    generator = create_generator(spec, initializer="zeros")
    copy_all(imported.generator, generator)
    assign_statistics(generator, values)
    settings = {"batches": batches, "batch_size": batch_size, "truncation": truncation}
    note = (
        f"standing statistics of {batches} batches of {batch_size} samples, "
        f"truncation {truncation:g}, replace those of the source"
    )
    return dataclasses.replace(
        imported,
        spec=spec,
        generator=generator,
        notes=[*imported.notes, note],
        provenance={**imported.provenance, "standing_statistics": settings},
    )
