"""TransferGAN (Wang et al., ECCV 2018): all of both networks is fine-tuned from the source.

The published code restores every tensor of its source, class tables included, so it needs as many
new classes as old ones. Here the new classes have tables of their own, rows of the shared class
embedding or of each norm's table, that start at the mean of all old classes or of
the nearest (`class_init`).
Raw weights and spectral norms are kept, as all of them are trained; batch-norm statistics start
from those at `config.source_truncation`. The losses are the package's (hinge with projection, in
place of WGAN-GP and AC-GAN).

As convolutions change, the old classes are lost: the extended generator holds the new ones only.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from cgt_tf.config import Config, knob
from cgt_tf.config_checks import at_least, one_of
from cgt_tf.methods.base import DataSpec, TransferMethod
from cgt_tf.methods.phases import Adam, Stage, Trained
from cgt_tf.methods.run_networks import Networks

if TYPE_CHECKING:
    from cgt_tf.networks.extended import ExtendedGenerator
    from cgt_tf.networks.gan import Gan


@dataclasses.dataclass(kw_only=True)
class TransferGANSettings:
    """Where the new classes start."""

    CLASS_INITS: ClassVar[tuple[str, ...]] = ("mean_old", "nearest", "normal")

    class_init: str = knob(
        "mean_old", "mean of the old classes; nearest: of those; or normal with their spread"
    )
    class_init_std: float = knob(0.1, "normal noise on those means")
    nearest_classes: int = knob(5, "old classes that a start at the nearest ones is made of")

    def check(self, config: Config) -> None:
        """Raises InputError for values out of their range."""
        name = config.method.name
        one_of(f"{name}.class_init", self.class_init, self.CLASS_INITS)
        at_least(f"{name}.class_init_std", self.class_init_std, 0)
        at_least(f"{name}.nearest_classes", self.nearest_classes, 1)


class TransferGAN(TransferMethod):
    """Fine-tunes the whole source with the adversarial loss."""

    Settings: ClassVar[type] = TransferGANSettings

    def build(self, sources: Sequence["Gan"], target: DataSpec) -> Networks:
        from cgt_tf.methods import transfer, whole_generator
        from cgt_tf.networks.gan import Gan, create_generator

        (self._source,) = sources
        source = self._source.spec
        transfer.check_transfer(self._source, target)
        self._frozen = self.frozen_blocks(source)
        spec = whole_generator.whole_spec(source, len(target.class_names))
        generator = create_generator(spec, **whole_generator.generator_options(source, spec))
        self._copy_source(generator)
        discriminator = transfer.transferred_discriminator(
            self._source, spec, self.config, frozen_blocks=self._frozen
        )
        return Networks.of(Gan(spec, generator, discriminator, list(target.class_names)))

    def _copy_source(self, generator, nearest: Sequence | None = None) -> None:
        import numpy as np

        from cgt_tf.methods.whole_generator import copy_whole, initial_rows

        count, settings = generator.spec.num_classes, self.settings
        rng = np.random.default_rng(self.config.seed)

        def rows(name, table):
            del name
            start = (settings.class_init, settings.class_init_std)
            return initial_rows(table, count, *start, rng, nearest)

        copy_whole(self._source.generator, generator, rows, self.config.source_truncation)

    def prepare(self, networks: Networks, images) -> None:
        """Starts each new class at its nearest old ones, where the settings say so."""
        if self.settings.class_init == "nearest":
            from cgt_tf.methods.discriminant import nearest_classes

            nearest = nearest_classes(self._source, images, self.settings.nearest_classes)
            self._copy_source(networks.generator, nearest)

    def frozen_blocks(self, source) -> int:
        """How many of the discriminator's blocks are frozen, for a source of this spec."""
        del source
        return self.config.discriminator.freeze_blocks

    def stages(self, networks: Networks) -> tuple[Stage, ...]:
        from cgt_tf.methods.adversarial import Adversarial

        trained = Trained("generator", Adam.of(self.config.generator))
        adversarial = Adversarial(self.config, frozen_blocks=self._frozen)
        return adversarial.single_stage("fine_tune", (trained,))

    def extended(self, networks: Networks) -> "ExtendedGenerator":
        from cgt_tf.networks.extended import fold_together

        return fold_together([networks.generator], [networks.class_names])

    def as_source(self, networks: Networks, extended: "ExtendedGenerator") -> "Gan":
        # Layers of a folded source are none that a spec describes unless they are folded again.
        if self._source.spec.domain_classes:
            return super().as_source(networks, extended)
        return networks.gan()
