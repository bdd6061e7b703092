"""Which of a discriminator's outputs enter the hinge loss, and with what weight."""

import tensorflow as tf

from cgt_tf.config import TrainingConfig
from cgt_tf.training import objectives
from cgt_tf.training.schedules import linear_ramp


class AdversarialLoss:
    """The hinge loss of D(x, y) as a whole; values are sums over the batch."""

    def generator_classes(self, labels, num_classes: int):
        """What the generator is given in training for labels int32 [B]: these, or class weights."""
        del num_classes
        return labels

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
    lambda linear from 0 to 1, in the generator FC(z) + lambda f(c)). Here D's w h + b and <v_y, h>
    are the two outputs, each with a hinge of its own, and lambda scales what a class has alone in
    the generator's norms and embeddings: scores and residuals, not latents and common biases.

    In training only: samples and exports see the generator with its classes in full, and so do
    scores, which is why there are none before the ramp's end.

    Args:
        step: variable, generator updates done.
        start, end: steps where lambda leaves 0 and reaches 1.
        scale_classes: whether the generator's class part is scaled as well.
    """

    def __init__(self, step: tf.Variable, start: int, end: int, scale_classes: bool = True):
        self._step, self._start, self._end = step, start, end
        self._scale_classes = scale_classes

    def _share(self):
        return linear_ramp(self._step, self._start, self._end)

    def generator_classes(self, labels, num_classes: int):
        if not self._scale_classes:
            return labels
        return self._share() * tf.one_hot(labels, num_classes)

    def parts(self, logits, endpoints):
        return {
            "unconditional": (1.0, endpoints["unconditional"]),
            "projection": (self._share(), endpoints["projection"]),
        }


def create_loss(config: TrainingConfig, step: tf.Variable) -> AdversarialLoss:
    """The adversarial loss of a run."""
    if config.ramp_end:
        return RampedLoss(step, config.ramp_start, config.ramp_end, config.ramp_generator)
    return AdversarialLoss()
