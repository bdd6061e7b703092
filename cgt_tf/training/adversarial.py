"""Which of a discriminator's outputs enter the hinge loss, and with what weight."""

import tensorflow as tf

from cgt_tf.config import TrainingConfig
from cgt_tf.training import objectives
from cgt_tf.training.schedules import linear_ramp


class AdversarialLoss:
    """The hinge loss of D(x, y) as a whole; values are sums over the batch."""

    def parts(self, logits, endpoints) -> dict[str, tuple]:
        """(weight, float32 [B]) by name: the terms of what a discriminator returned."""
        return {"logits": (1.0, logits)}

    def combined(self, logits, endpoints):
        """D(x, y) as it is reported, penalised and counted, float32 [B]."""
        return sum(weight * part for weight, part in self.parts(logits, endpoints).values())

    def discriminator(self, logits, endpoints):
        """Loss of a batch of real images followed by as many generated ones."""
        return sum(
            weight * objectives.hinge_discriminator_loss(*tf.split(part, 2))
            for weight, part in self.parts(logits, endpoints).values()
        )

    def generator(self, logits, endpoints):
        """Loss of a batch of generated images."""
        return sum(
            weight * objectives.hinge_generator_loss(part)
            for weight, part in self.parts(logits, endpoints).values()
        )


class RampedLoss(AdversarialLoss):
    """Unconditional loss first, then with the class part's own added by and by.

    Few images a class collapse a conditional GAN where an unconditional one still trains
    (Shahbazi et al., "Collapse by Conditioning", ICLR 2022: Transitional-cGAN, L_u + lambda L_c,
    lambda linear from 0 to 1). Here D's w h + b and <v_y, h> are the two outputs, each with a hinge
    of its own. The generator's class path, which the paper scales by lambda too, is left as it is:
    after a transfer it starts out trained, and G must tell the classes apart to draw either.

    Args:
        step: variable, generator updates done.
        start, end: steps where lambda leaves 0 and reaches 1.
    """

    def __init__(self, step: tf.Variable, start: int, end: int):
        self._step, self._start, self._end = step, start, end

    def parts(self, logits, endpoints):
        share = linear_ramp(self._step, self._start, self._end)
        return {
            "unconditional": (1.0, endpoints["unconditional"]),
            "projection": (share, endpoints["projection"]),
        }


def create_loss(config: TrainingConfig, step: tf.Variable) -> AdversarialLoss:
    """The adversarial loss of a run."""
    if config.ramp_end:
        return RampedLoss(step, config.ramp_start, config.ramp_end)
    return AdversarialLoss()
