"""Adversarial losses: a pair of functions, and which of a discriminator's outputs enter them.

The hinge losses are tensorflow-gan's (Lim & Ye, 2017; SAGAN, BigGAN).
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from cgt_tf import tfgan
from cgt_tf.config import TrainingConfig
from cgt_tf.errors import InputError


def hinge_discriminator_loss(real_logits, fake_logits):
    """Mean over the batch of relu(1 - D(real)) + relu(1 + D(fake))."""
    return tfgan.losses().wasserstein_hinge_discriminator_loss(
        real_logits, fake_logits, reduction=tf.compat.v1.losses.Reduction.SUM_OVER_BATCH_SIZE
    )


def hinge_generator_loss(fake_logits):
    """Mean over the batch of -D(fake)."""
    return tfgan.losses().wasserstein_hinge_generator_loss(
        fake_logits, reduction=tf.compat.v1.losses.Reduction.SUM_OVER_BATCH_SIZE
    )


def softplus_discriminator_loss(real_logits, fake_logits):
    """Mean over the batch of softplus(-D(real)) + softplus(D(fake)) (Goodfellow et al., 2014)."""
    return tf.reduce_mean(tf.nn.softplus(-real_logits)) + tf.reduce_mean(
        tf.nn.softplus(fake_logits)
    )


def softplus_generator_loss(fake_logits):
    """Mean over the batch of softplus(-D(fake)), the non-saturating form."""
    return tf.reduce_mean(tf.nn.softplus(-fake_logits))


class Pair(NamedTuple):
    """Losses of the two networks, functions of logits [b].

    Attributes:
        discriminator: (real, fake) -> scalar.
        generator: Fake -> scalar.
    """

    discriminator: Callable
    generator: Callable


PAIRS = {
    "hinge": Pair(hinge_discriminator_loss, hinge_generator_loss),
    "softplus": Pair(softplus_discriminator_loss, softplus_generator_loss),
}


def linear_ramp(step, start: int, end: int) -> tf.Tensor:
    """0 up to step `start`, 1 from step `end`, linear in between; float32."""
    share = (tf.cast(step, tf.float32) - start) / (end - start)
    return tf.clip_by_value(share, 0.0, 1.0)


class AdversarialLoss:
    """The loss of one output of D; values are means over the batch.

    Args:
        pair: Pair of `PAIRS`.
        head: `logits`, D(x, y) as a whole, or one of its two summands alone: `unconditional`, or
            `projection`, a linear head a class.

    Args of all functions:
        logits, endpoints: what a discriminator returned.
        step: int64, steps of the run that are done.
    """

    def __init__(self, pair: str = "hinge", head: str = "logits"):
        self.pair = PAIRS[pair]
        self.head = head

    @property
    def unused(self) -> tuple[str, ...]:
        """Layers of D that the loss does not depend on."""
        return {"unconditional": ("class_projection",), "projection": ("linear",)}.get(
            self.head, ()
        )

    def generator_classes(self, labels, num_classes: int, step):
        """What the generator is given in training for labels int32 [B]: these, or class weights."""
        del num_classes, step
        return labels

    def parts(self, logits, endpoints, step) -> dict[str, tuple]:
        """(weight, float32 [B]) by name: the terms of what a discriminator returned."""
        del step
        return {self.head: (1.0, endpoints.get(self.head, logits))}

    def combined(self, logits, endpoints, step):
        """D(x, y) as it is reported, penalised and counted, float32 [B]."""
        return sum(weight * part for weight, part in self.parts(logits, endpoints, step).values())

    def discriminator(self, logits, endpoints, step):
        """Loss of a batch of real images followed by as many generated ones."""
        return sum(
            weight * self.pair.discriminator(*tf.split(part, 2))
            for weight, part in self.parts(logits, endpoints, step).values()
        )

    def generator(self, logits, endpoints, step):
        """Loss of a batch of generated images."""
        return sum(
            weight * self.pair.generator(part)
            for weight, part in self.parts(logits, endpoints, step).values()
        )


class RampedLoss(AdversarialLoss):
    """Unconditional loss first; the class-conditional loss is then added gradually.

    Few images a class collapse a conditional GAN where an unconditional one still trains
    (Shahbazi et al., "Collapse by Conditioning", ICLR 2022: Transitional-cGAN, L_u + lambda L_c,
    lambda linear from 0 to 1, in the generator FC(z) + lambda f(c)). Here D's w h + b and <v_y, h>
    are the two outputs, each with a loss of its own. In the generator lambda scales how far a class
    is from the classes' mean: every offset of a norm, and every embedding, is
    mean + lambda (own - mean). It is their mean, not 0, where all of them start: offsets of 0 are
    no class of the source, whose offsets have a mean and a spread, and give images of nothing.

    In training only: samples and exports see the generator with its classes in full, and so do
    scores, which is why there are none before the ramp's end.

    Args:
        start, end: Steps where lambda leaves 0 and reaches 1.
        scale_classes: Whether the generator's classes are blended in as well.
        pair: Pair of `PAIRS`.
    """

    def __init__(self, start: int, end: int, scale_classes: bool = True, pair: str = "hinge"):
        super().__init__(pair)
        self._start, self._end = start, end
        self._scale_classes = scale_classes

    def generator_classes(self, labels, num_classes: int, step):
        if not self._scale_classes:
            return labels
        share = linear_ramp(step, self._start, self._end)
        # Offsets and embeddings are linear in these weights, which add up to 1.
        return share * tf.one_hot(labels, num_classes) + (1.0 - share) / num_classes

    def parts(self, logits, endpoints, step):
        return {
            "unconditional": (1.0, endpoints["unconditional"]),
            "projection": (linear_ramp(step, self._start, self._end), endpoints["projection"]),
        }


def create_loss(
    config: TrainingConfig, pair: str = "hinge", head: str = "logits"
) -> AdversarialLoss:
    """The adversarial loss of a run; see `AdversarialLoss`.

    Raises:
        InputError: a ramp of the classes, and a discriminator without one of its heads.
    """
    if not config.ramp_end:
        return AdversarialLoss(pair, head)
    if head != "logits":
        raise InputError(
            "--config.training.ramp_end needs a discriminator with both heads, unconditional and "
            f"projection, got {head} alone"
        )
    return RampedLoss(config.ramp_start, config.ramp_end, config.ramp_generator, pair)
