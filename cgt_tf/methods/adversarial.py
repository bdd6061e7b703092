"""The phases of a generator against a discriminator, with all options that the harness has."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from cgt_tf.config import Config
from cgt_tf.methods.objectives import AdversarialLoss, create_loss
from cgt_tf.methods.phases import Adam, Microbatch, Phase, Stage, Terms, Trained
from cgt_tf.methods.regularisers import lazy_r1

# Streams of a microbatch's augmentation.
REAL, FAKE = 1, 2
# Mean sign of D(real), which the adaptive augmentation follows.
D_SIGN = "d_sign"
DISCRIMINATOR = "discriminator"


class Judged(NamedTuple):
    """What there is to see in a microbatch; of D's, real images come first, then as many generated.

    Attributes:
        labels: int32 [b], drawn uniformly for the generated images.
        z: float32 [b, dim_z].
        generated: `(images float32 [b, R, R, 3], endpoints)` of the generator.
        judged: `(logits, endpoints)` of the discriminator on what the augmentation made of them.
    """

    labels: Any
    z: Any
    generated: tuple
    judged: tuple


class Adversarial:
    """Losses of both networks, with accumulation, augmentation, R1 and the loss ramp.

    Args:
        config: Config of the run.
        loss: Loss of both; None: the hinge, ramped where the config says so, see `create_loss`.
        frozen_blocks: Frozen blocks of the discriminator, from the image side; None: as the config
            says.
        frozen_layers: Further layers of it that are not trained, by the paths of their names.
        generate: `generate(p, z, classes, training)` -> (images, endpoints), where a method puts
            something before the generator; classes are labels int32 [b] or weights [b, K].
        power_iteration: Whether the generator's power vectors move; None: as in training.
        terms: `terms(p, judged)` -> scalars by name that the generator's loss has besides.
        discriminator_terms: The same of the discriminator's.
    """

    def __init__(
        self,
        config: Config,
        *,
        loss: AdversarialLoss | None = None,
        frozen_blocks: int | None = None,
        frozen_layers: tuple[str, ...] = (),
        generate: Callable | None = None,
        power_iteration: bool | None = None,
        terms: Callable[[Microbatch, Judged], dict] | None = None,
        discriminator_terms: Callable[[Microbatch, Judged], dict] | None = None,
    ):
        self._config = config
        blocks = config.discriminator.freeze_blocks if frozen_blocks is None else frozen_blocks
        self._loss = loss or create_loss(config.training)
        self._patterns = discriminator_patterns(blocks, (*self._loss.unused, *frozen_layers))
        self._generate = generate or self._from_labels
        self._power_iteration = power_iteration
        self._terms = terms or _none
        self._discriminator_terms = discriminator_terms or _none

    def discriminator(self, generator_training: bool = True) -> Phase:
        """D's updates of a step, on real images and as many generated ones.

        Args:
            generator_training: Whether the generator's batch norm is in training mode.
        """
        training, optimizer = self._config.training, Adam.of(self._config.discriminator)

        def loss(p: Microbatch) -> Terms:
            return self._discriminator_loss(p, generator_training)

        return Phase(
            DISCRIMINATOR,
            (Trained(DISCRIMINATOR, optimizer, self._patterns),),
            loss,
            updates=training.d_steps,
            microbatches=training.accumulation,
        )

    def generator(self, trained: tuple[Trained, ...], name: str = "generator") -> Phase:
        """One update of what generates."""
        training = self._config.training
        return Phase(
            name,
            trained,
            self._generator_loss,
            microbatches=training.generator_accumulation or training.accumulation,
            images=False,
        )

    def single_stage(self, name: str, trained: tuple[Trained, ...]) -> tuple[Stage, ...]:
        """A stage of `config.training.steps` steps of both networks, after D's warm-up if any."""
        phases = (self.discriminator(), self.generator(trained))
        return self.after_warm_up((Stage(name, self._config.training.steps, phases),))

    def after_warm_up(self, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        """The stages, after one of D alone where `config.discriminator.warmup_steps` asks for it.

        The generator is only sampled there.
        """
        steps = self._config.discriminator.warmup_steps
        if not steps:
            return stages
        alone = dataclasses.replace(self.discriminator(generator_training=False), updates=1)
        return (Stage("warm_up", steps, (alone,)), *stages)

    def _discriminator_loss(self, p: Microbatch, generator_training: bool) -> Terms:
        fakes = self._fakes(p, generator_training)
        reals, generated = p.augment(p.images, REAL), p.augment(fakes.generated[0], FAKE)
        outputs = p.networks.discriminator(
            tf.concat([reals, generated], axis=0),
            tf.concat([p.labels, fakes.labels], axis=0),
            training=True,
        )
        terms = {"discriminator_loss": self._loss.discriminator(*outputs, p.step)}
        training = self._config.training
        if training.r1_gamma:
            terms["r1"] = lazy_r1(
                lambda images: self._logits(p, images, p.labels),
                p.images,
                p.update,
                training.r1_gamma,
                training.r1_every,
            )
        terms |= self._discriminator_terms(p, fakes._replace(judged=outputs))
        real, fake = tf.split(self._loss.combined(*outputs, p.step), 2)
        return Terms(
            terms,
            {
                "d_real": tf.reduce_mean(real),
                "d_fake": tf.reduce_mean(fake),
                D_SIGN: tf.reduce_mean(tf.sign(real)),
            },
        )

    def _logits(self, p: Microbatch, images, labels):
        """D(x, y) of real images, without moving its power vectors."""
        outputs = p.networks.discriminator(p.augment(images, REAL), labels, training=False)
        return self._loss.combined(*outputs, p.step)

    def _generator_loss(self, p: Microbatch) -> Terms:
        fakes = self._fakes(p, training=True)
        seen = p.augment(fakes.generated[0], FAKE)
        outputs = p.networks.discriminator(seen, fakes.labels, training=True)
        loss = self._loss.generator(*outputs, p.step)
        return Terms({"generator_loss": loss, **self._terms(p, fakes._replace(judged=outputs))})

    def _fakes(self, p: Microbatch, training: bool) -> Judged:
        spec = p.networks.spec
        z, labels = p.draws.latents(spec.dim_z, spec.num_classes)
        classes = self._loss.generator_classes(labels, spec.num_classes, p.step)
        return Judged(labels, z, self._generate(p, z, classes, training), ())

    def _from_labels(self, p: Microbatch, z, classes, training: bool):
        power_iteration = training if self._power_iteration is None else self._power_iteration
        return p.networks.generator(z, classes, training=training, power_iteration=power_iteration)


def discriminator_patterns(frozen_blocks: int, unused: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Patterns of D's trained variables: all but its first blocks and the attentions after them.

    Args:
        frozen_blocks: How many.
        unused: Further layers that are not trained.
    """
    frozen = "|".join(str(i) for i in range(frozen_blocks))
    left_out = [rf"(block|attention)_({frozen})/"] if frozen else []
    left_out += [f"{layer}/" for layer in unused]
    return (rf"(?!{'|'.join(left_out)}).*",) if left_out else (".*",)


def _none(p: Microbatch, judged: Judged) -> dict:
    del p, judged
    return {}
