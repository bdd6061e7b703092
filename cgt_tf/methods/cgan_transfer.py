"""cGANTransfer (Shahbazi et al., CVPR 2021): knowledge propagation across classes.

By default the `paper` form: spectral norms are folded once at load, so that the pseudo-classes
start at the scale the source was trained at; offsets, not whole scales, are mixed; residuals start
at 0; scores are their own for every layer, and for scale and shift. Convolutions stay frozen,
batch-norm statistics of the new classes move, the discriminator is fine-tuned with a fresh
projection table. What the released code does differently is a choice of the settings, collected
in configs/base/code_imagenet.flags and code_cifar.flags; so is every row of the paper's table 2.

Latent projections are copied instead of shared with the source, so that the old classes' outputs
do not change. The fine-tuning stage (section 5.4) follows the first one in the same run, or starts
from a run of it: scores and pseudo-classes frozen, residuals, convolutions and all else trained;
its export holds the new classes only.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from cgt_tf.methods.base import DataSpec, TransferMethod
from cgt_tf.methods.cgan_transfer_settings import FINE_TUNE, PROPAGATE, CGANTransferSettings
from cgt_tf.methods.phases import Adam, Stage, Trained
from cgt_tf.methods.run_networks import Networks

if TYPE_CHECKING:
    from cgt_tf.networks.extended import ExtendedGenerator
    from cgt_tf.networks.gan import Gan

# Scale and shift of every conditional norm.
NORM_PARTS = r"block_\d+/norm\d/(scale|shift)"
# All that does not depend on the class: trained in fine-tuning only.
_SHARED = (r"linear/.*", r"block_\d+/(conv\d|shortcut)/.*", r"output_(norm|conv)/.*")
_ATTENTION = r"attention_\d+/.*"


class CGANTransfer(TransferMethod):
    """Adds classes as similarity-weighted pseudo-classes plus small residuals."""

    Settings: ClassVar[type] = CGANTransferSettings

    @property
    def offsets(self) -> CGANTransferSettings:
        """What the offsets are made of; a variant of the method fixes some of it."""
        return self.settings

    @property
    def keeps_old_classes(self) -> bool:
        return FINE_TUNE not in self.settings.stages

    @property
    def has_pseudo_classes(self) -> bool:
        return self.offsets.propagate

    def build(self, sources: Sequence["Gan"], target: DataSpec) -> Networks:
        from cgt_tf.methods import fine_tuning, propagation, transfer
        from cgt_tf.networks.gan import Gan

        (self._source,) = sources
        transfer.check_transfer(self._source, target)
        spec = transfer.transferred_spec(self._source.spec, len(target.class_names))
        generator = propagation.create_transferred_generator(
            self._source,
            spec,
            self.offsets,
            self.config,
            trained_weights=not self.keeps_old_classes,
        )
        discriminator = transfer.transferred_discriminator(
            self._source, spec, self.config, taken_over=bool(self.settings.start)
        )
        networks = Networks.of(Gan(spec, generator, discriminator, list(target.class_names)))
        if self.settings.start:
            fine_tuning.take_over(networks, self.settings.start, self.settings.start_checkpoint)
        return networks

    def prepare(self, networks: Networks, images) -> None:
        """Finds the old classes that the new ones are like, where anything starts there."""
        from cgt_tf.methods import propagation

        offsets = self.offsets
        chosen = offsets.starts_alike or offsets.looks_at_images
        if offsets.propagate and chosen and not self.settings.start:
            propagation.choose_old_classes(
                self._source, networks.generator, images, offsets, self.config.seed
            )

    def stages(self, networks: Networks) -> tuple[Stage, ...]:
        from cgt_tf.methods.adversarial import Adversarial

        found = []
        for name in self.settings.stages:
            adversarial = Adversarial(
                self.config,
                terms=self._penalties(name),
                # Frozen kernels keep the norms that they are divided by.
                power_iteration=None if name == FINE_TUNE else False,
            )
            trained = self._trained(name, networks)
            phases = (
                adversarial.discriminator(),
                adversarial.generator(trained, name=f"generator_{name}"),
            )
            last = name == self.settings.stages[-1]
            steps = self.config.training.steps if last else self.settings.propagate_steps
            found.append(Stage(name, steps, phases))
        return adversarial.after_warm_up(tuple(found))

    def _penalties(self, stage: str):
        from cgt_tf.methods import propagation

        def penalties(p, judged) -> dict:
            del judged
            parts = propagation.parts_of(p.networks.generator)
            return propagation.penalties(parts, self.offsets, scores=stage != FINE_TUNE)

        return penalties

    def _trained(self, stage: str, networks: Networks) -> tuple[Trained, ...]:
        """All that a stage trains; at `equal_updates` each kind of offsets at a rate of its own."""
        from cgt_tf.methods import propagation

        optimizer, kinds = Adam.of(self.config.generator), self._kinds(stage)
        if not (self.offsets.equal_updates and stage == PROPAGATE):
            patterns = [pattern for kind in kinds for pattern in self._patterns(kind)]
            return (Trained("generator", optimizer, (*patterns, *self._rest(stage))),)
        scales = propagation.learning_rate_scales(networks.generator, self.offsets)
        found = []
        for kind in kinds:
            rate = optimizer.learning_rate * scales[kind.partition("/")[0]]
            scaled = dataclasses.replace(optimizer, learning_rate=rate)
            found.append(Trained("generator", scaled, self._patterns(kind)))
        if rest := self._rest(stage):
            found.append(Trained("generator", optimizer, rest))
        return tuple(found)

    def _kinds(self, stage: str) -> list[str]:
        """Ends of the names of the offsets' variables that a stage trains."""
        offsets, kinds = self.offsets, []
        if offsets.propagate and stage == PROPAGATE:
            kinds += ["scores/.*"] * offsets.trains_scores + ["prior/.*"] * offsets.train_prior
        return kinds + ["residual"] * offsets.residual

    def _patterns(self, kind: str) -> tuple[str, ...]:
        embedding = (f"class_embedding/{kind}",) if self._source.spec.deep else ()
        return (f"{NORM_PARTS}/{kind}", *embedding)

    def _rest(self, stage: str) -> tuple[str, ...]:
        """Patterns of what a stage trains besides the offsets."""
        spec = self._source.spec
        latent = (f"{NORM_PARTS}/latent/.*",) if spec.chunk_dim else ()
        if stage == PROPAGATE:
            return latent
        return (*latent, *_SHARED, *[_ATTENTION] * bool(spec.g_attention))

    def extended(self, networks: Networks) -> "ExtendedGenerator":
        from cgt_tf.networks.extended import fold_together

        old, new = self._source, networks
        if not self.keeps_old_classes:
            return fold_together([new.generator], [new.class_names])
        return fold_together([old.generator, new.generator], [old.class_names, new.class_names])

    def discriminator_origin(self, sources: Sequence["Gan"]) -> str:
        if self.settings.start:
            return f"that of {self.settings.start}, class table included"
        return super().discriminator_origin(sources)
