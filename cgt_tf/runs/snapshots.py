"""The GAN that each checkpoint keeps beside the training's state: its EMA, folded, complete.

Sampling, scoring, export and further transfers read it and nothing else of the run but its config:
neither the source nor the method is needed.
"""

import dataclasses

from cgt_tf.errors import InputError
from cgt_tf.formats import native
from cgt_tf.formats.imported import Imported
from cgt_tf.networks.extended import ExtendedGenerator, extended_from
from cgt_tf.networks.gan import Gan
from cgt_tf.runs.run_dir import RunDir


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A run's networks at a checkpoint.

    Attributes:
        run: The run's directory.
        step: Step of the checkpoint.
        gan: Old and new classes, or the new ones where the method keeps no others.
        new_classes: The classes that the run has learnt, in label order.
        provenance: Where the weights come from, as JSON.
    """

    run: RunDir
    step: int
    gan: Gan
    new_classes: tuple[str, ...]
    provenance: dict

    def extended(self) -> ExtendedGenerator:
        """`(z, label, truncation) -> images` of all its classes."""
        return extended_from(self.gan)


def open_snapshot(directory: str, checkpoint: str = "best") -> Snapshot:
    """Reads the GAN of a checkpoint.

    Args:
        directory: Directory of a run of `cgt-train`.
        checkpoint: `best`, `last`, or a step; see `RunDir.resolve_checkpoint`.

    Raises:
        InputError: no run, no such checkpoint, or a damaged one.
    """
    run = RunDir(directory)
    new_classes = run.class_names()
    step = run.resolve_checkpoint(checkpoint)
    read = native.read_model(run.snapshot_path(step))
    gan = Gan(read.spec, read.generator, read.discriminator, read.class_names)
    return Snapshot(run, step, gan, new_classes, read.provenance)


def read_run(directory: str, bn_eps: float | None = None, sn_eps: float | None = None) -> Imported:
    """A run's best checkpoint as a source.

    Raises:
        InputError: no run with a checkpoint, or epsilons, which are part of what was trained.
    """
    if bn_eps is not None or sn_eps is not None:
        raise InputError("expected run:<dir> without bn_eps or sn_eps: a run keeps its own")
    snapshot = open_snapshot(directory)
    gan = snapshot.gan
    return Imported(
        gan.spec,
        gan.generator,
        gan.discriminator,
        gan.class_names,
        notes=[f"step {snapshot.step} of the run, the EMA of the generator"],
        provenance=snapshot.provenance,
    )
