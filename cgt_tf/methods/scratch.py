"""Training from random initialisation: the paper's `Scratch` row, and how a source is made."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from cgt_tf.config import Config, ModelConfig
from cgt_tf.errors import InputError
from cgt_tf.methods.base import DataSpec, TransferMethod
from cgt_tf.methods.phases import Adam, Stage, Trained
from cgt_tf.methods.run_networks import Networks

if TYPE_CHECKING:
    from cgt_tf.networks.extended import ExtendedGenerator
    from cgt_tf.networks.gan import Gan
    from cgt_tf.networks.spec import GanSpec


@dataclasses.dataclass(kw_only=True)
class ScratchSettings:
    """None of its own: the networks are `config.model`."""

    def check(self, config: Config) -> None:
        """Raises InputError for a frozen part of a discriminator that is fresh."""
        if config.discriminator.freeze_blocks:
            raise InputError(
                "expected --config.discriminator.freeze_blocks 0 for scratch, whose discriminator "
                f"is fresh, got {config.discriminator.freeze_blocks}"
            )


class Scratch(TransferMethod):
    """All variables of both networks are trained; there are no old classes."""

    Settings: ClassVar[type] = ScratchSettings
    needs_source: ClassVar[bool] = False

    def build(self, sources: Sequence["Gan"], target: DataSpec) -> Networks:
        from cgt_tf.networks.gan import create_gan

        spec = spec_from_config(self.config.model, len(target.class_names))
        if spec.resolution != target.resolution:
            raise InputError(
                f"expected images of --config.model.resolution {spec.resolution}, "
                f"got {target.resolution}"
            )
        gan = create_gan(
            spec,
            list(target.class_names),
            fused=self.config.model.fused,
            embedding_gain=self.config.model.embedding_gain,
        )
        return Networks.of(gan)

    def stages(self, networks: Networks) -> tuple[Stage, ...]:
        from cgt_tf.methods.adversarial import Adversarial

        trained = Trained("generator", Adam.of(self.config.generator))
        return Adversarial(self.config).single_stage("scratch", (trained,))

    def extended(self, networks: Networks) -> "ExtendedGenerator":
        from cgt_tf.networks.extended import fold_together

        return fold_together([networks.generator], [networks.class_names])

    def as_source(self, networks: Networks, extended: "ExtendedGenerator") -> "Gan":
        return networks.gan()


def spec_from_config(model: ModelConfig, num_classes: int) -> "GanSpec":
    """The published spec of a resolution with the config's changes."""
    from cgt_tf.networks.spec import biggan_spec

    changes = {"hierarchical": model.hierarchical, "shared_dim": model.shared_dim}
    if model.g_widths:
        changes["g_widths"] = model.g_widths
    if model.d_widths:
        changes["d_widths"] = model.d_widths
        changes["d_halvings"] = model.d_halvings or len(model.d_widths) - 1
    if model.attention:
        changes["g_attention"] = changes["d_attention"] = model.attention
    if model.dim_z:
        changes["dim_z"] = model.dim_z
    return biggan_spec(model.resolution, num_classes, model.channels or None, **changes)
