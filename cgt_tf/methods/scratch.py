"""Training from random initialisation: the paper's `Scratch` row, and how a source is made."""

from cgt_tf.config import ModelConfig
from cgt_tf.errors import InputError
from cgt_tf.methods.base import DataSpec, Stage, TransferMethod
from cgt_tf.models.fold import ExtendedGenerator
from cgt_tf.models.gan import Gan, create_gan
from cgt_tf.models.spec import GanSpec, biggan_spec


class Scratch(TransferMethod):
    """All variables of both networks are trained; there are no old classes."""

    def build(self, source: Gan | None, target: DataSpec) -> Gan:
        if self.config.discriminator.freeze_blocks:
            raise InputError(
                "expected --config.discriminator.freeze_blocks 0 for scratch, whose discriminator "
                f"is fresh, got {self.config.discriminator.freeze_blocks}"
            )
        spec = spec_from_config(self.config.model, len(target.class_names))
        if spec.resolution != target.resolution:
            raise InputError(
                f"expected images of --config.model.resolution {spec.resolution}, "
                f"got {target.resolution}"
            )
        return create_gan(
            spec,
            list(target.class_names),
            fused=self.config.model.fused,
            embedding_gain=self.config.model.embedding_gain,
        )

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("scratch", self.config.training.steps),)

    def extended(self, gan: Gan) -> ExtendedGenerator:
        return ExtendedGenerator([gan.generator], [gan.class_names])

    def as_source(self, gan: Gan) -> Gan:
        return gan


def spec_from_config(model: ModelConfig, num_classes: int) -> GanSpec:
    """The published spec of a resolution with the config's changes."""
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
