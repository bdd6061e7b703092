"""The contract of a transfer method: its settings, networks, stages, and what samples from it.

Nothing here imports Keras or TensorFlow, and neither does a method's file until it builds networks,
so that `--help` and a wrong flag answer at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from cgt_tf.config import Config
from cgt_tf.methods.phases import Stage
from cgt_tf.methods.run_networks import Networks

if TYPE_CHECKING:
    from cgt_tf.data.image_set import ImageSet
    from cgt_tf.networks.extended import ExtendedGenerator
    from cgt_tf.networks.gan import Gan


@dataclasses.dataclass(frozen=True)
class DataSpec:
    """The new classes.

    Attributes:
        class_names: One name a class, in label order.
        resolution: Side of the square images, in pixels.
    """

    class_names: tuple[str, ...]
    resolution: int


class TransferMethod:
    """Base of all methods; a method's file implements `build`, `stages` and `extended`.

    Args:
        config: The run's, of the type that `methods.registry.config_type` gives.

    Attributes:
        Settings: Dataclass of the method's own knobs, `--config.<name>.*`; it may have a function
            `check(config)` that raises `InputError`.
        needs_source: Whether it starts from a source GAN.
        needs_discriminator: Whether it trains one.
        ema_networks: Names of the networks that samples are made with, whose EMA is kept.
        settings: Settings of the run.
    """

    Settings: ClassVar[type]
    needs_source: ClassVar[bool] = True
    needs_discriminator: ClassVar[bool] = True
    ema_networks: ClassVar[tuple[str, ...]] = ("generator",)

    def __init__(self, config: Config):
        self.config = config
        self.settings = getattr(config, config.method.name)

    @property
    def keeps_old_classes(self) -> bool:
        """Whether `extended` holds the source's classes besides the new ones."""
        return False

    @property
    def has_pseudo_classes(self) -> bool:
        """Whether offsets of the new classes are mixed from rows that stand for classes."""
        return False

    @property
    def source_handles(self) -> tuple[str, ...]:
        """Handles of the sources that `build` is given, in order."""
        return (self.config.source,) if self.needs_source else ()

    def build(self, sources: Sequence[Gan], target: DataSpec) -> Networks:
        """The networks to train, with `target`'s classes; the sources are left as they are."""
        raise NotImplementedError(f"{type(self).__name__} must define build")

    @property
    def slow_preparation(self) -> str:
        """What `prepare` does that takes as long as a training, as a verb; "" for nothing."""
        return ""

    def prepare(self, networks: Networks, images: ImageSet) -> None:
        """Work before the first step that needs the training images; nothing by default.

        Runs again when a run is resumed; a checkpoint then replaces the values of variables.
        """

    def stages(self, networks: Networks) -> tuple[Stage, ...]:
        """The stages of training, in order; the last has `config.training.steps` steps."""
        raise NotImplementedError(f"{type(self).__name__} must define stages")

    def extended(self, networks: Networks) -> ExtendedGenerator:
        """`(z, label, truncation) -> images` of the present weights, folded: all that samples see.

        Its `refresh` takes in what the weights have become.
        """
        raise NotImplementedError(f"{type(self).__name__} must define extended")

    def as_source(self, networks: Networks, extended: ExtendedGenerator) -> Gan:
        """What a checkpoint keeps for sampling, export and further transfers, see `formats.native`.

        By default the folded generator of `extended`, and a discriminator that knows the new
        classes.
        """
        return extended.gan(networks.discriminator)

    def export_note(self, networks: Networks) -> str:
        """How much `extended` holds of the new classes, in few words for the log; may be empty."""
        return ""

    def discriminator_origin(self, sources: Sequence[Gan]) -> str:
        """Where the discriminator comes from, in a few words for the log."""
        config = self.config.discriminator
        if not self.needs_discriminator:
            return "none, the method needs none"
        if not self.needs_source:
            return "trained from random initialisation"
        warm_up = f", {config.warmup_steps} steps alone first" if config.warmup_steps else ""
        if config.source:
            return f"{config.source}, made for another generator's images, new class table{warm_up}"
        if sources[0].discriminator is not None:
            return f"the source's own, new class table{warm_up}"
        return (
            f"a fresh one, as the source has none{warm_up}; it starts without any knowledge of "
            "images, so expect slower and less stable learning than with a pretrained one"
        )
