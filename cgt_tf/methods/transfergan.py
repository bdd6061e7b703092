"""TransferGAN (Wang et al., ECCV 2018): all of both networks is fine-tuned from the source.

The published code restores every tensor of its source, class tables included, so it needs as many
new classes as old ones. Here the new classes have tables of their own, rows of the shared class
embedding or of each norm's table, that start at the mean of all old classes or of
the nearest (`config.method.class_init`).
Raw weights and spectral norms are kept, as all of them are trained; batch-norm statistics start
from those at `config.source_truncation`. The losses are the package's (hinge with projection, in
place of WGAN-GP and AC-GAN).

As convolutions change, the old classes are lost: the extended generator holds the new ones only.
"""

from collections.abc import Sequence

import numpy as np

from cgt_tf.config import Config
from cgt_tf.methods.base import DataSpec, Stage, TransferMethod
from cgt_tf.methods.propagation_init import nearest_classes
from cgt_tf.methods.transfer import (
    check_transfer,
    discriminator_patterns,
    transferred_discriminator,
)
from cgt_tf.methods.whole_generator import copy_whole, generator_options, initial_rows, whole_spec
from cgt_tf.models.biggan import BaseGenerator
from cgt_tf.models.fold import ExtendedGenerator
from cgt_tf.models.gan import Gan, create_generator


class TransferGAN(TransferMethod):
    """Fine-tunes the whole source with the adversarial loss."""

    def build(self, source: Gan | None, target: DataSpec) -> Gan:
        check_transfer(source, target)
        self._source = source
        self._frozen = self.freezing_config(source)
        spec = whole_spec(source.spec, len(target.class_names))
        generator = create_generator(spec, **generator_options(source.spec, spec))
        self._copy_source(generator)
        discriminator = transferred_discriminator(source, spec, self._frozen)
        return Gan(spec, generator, discriminator, list(target.class_names))

    def _copy_source(self, generator: BaseGenerator, nearest: Sequence | None = None) -> None:
        count, method = generator.spec.num_classes, self.config.method
        rng = np.random.default_rng(self.config.seed)
        copy_whole(
            self._source.generator,
            generator,
            lambda name, table: initial_rows(table, count, method, rng, nearest),
            self.config.source_truncation,
        )

    def prepare(self, gan: Gan, data) -> None:
        """Starts each new class at its nearest old ones, where the config says so."""
        method = self.config.method
        if method.class_init == "nearest":
            nearest = nearest_classes(self._source, data, method.nearest_classes)
            self._copy_source(gan.generator, nearest)

    def freezing_config(self, source: Gan) -> Config:
        """The config whose `discriminator.freeze_blocks` holds for this source."""
        del source
        return self.config

    def stages(self) -> tuple[Stage, ...]:
        return (
            Stage(
                "fine_tune",
                self.config.training.steps,
                discriminator=discriminator_patterns(self._frozen),
            ),
        )

    def extended(self, gan: Gan) -> ExtendedGenerator:
        return ExtendedGenerator([gan.generator], [gan.class_names])

    def as_source(self, gan: Gan) -> Gan:
        # Layers of a folded source are none that a spec describes unless they are folded again.
        return super().as_source(gan) if self._source.spec.domain_classes else gan
