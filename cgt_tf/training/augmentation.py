"""Augmentation in training: the draws of each microbatch, and the probability that ADA adapts."""

import tensorflow as tf

from cgt_tf.config import AugmentationConfig
from cgt_tf.data import augment
from cgt_tf.training.draws import MicrobatchDraws


class AdaptiveProbability:
    """ADA's probability (Karras et al., NeurIPS 2020, section 3; `training_loop.py` of
    stylegan2-ada-pytorch), as variables.

    The more of D's answers to real images are positive, the more it has overfitted. Every `every`
    steps p moves by one increment towards the target of r, the mean sign of D(real) since the last
    time; p stays in [0, 1]. With the increment, one microbatch of B images a step takes p from 0 to
    1 in `ada_kimg` thousand images. With accumulation or several D updates a step there are
    more images, but they are not counted, or few steps would take p to 1; r is the mean over all.

    Must be created in the strategy's scope.

    Args:
        config: Config of the run.
        batch_size: B, images of one microbatch over all replicas.

    Attributes:
        probability: P, float32 variable, 0 at the start.
        mean_sign: R at the last change, float32 variable.
        variables: All to be saved, by name.
    """

    def __init__(self, config: AugmentationConfig, batch_size: int):
        self._target = config.ada_target
        self._every = config.ada_every
        self._increment = batch_size * config.ada_every / (1000.0 * config.ada_kimg)
        self.probability = tf.Variable(0.0, trainable=False, name="ada_probability")
        self.mean_sign = tf.Variable(0.0, trainable=False, name="ada_mean_sign")
        self._sum = tf.Variable(0.0, trainable=False, name="ada_sum_of_signs")
        self.variables = {
            "probability": self.probability,
            "mean_sign": self.mean_sign,
            "sum_of_signs": self._sum,
        }

    def update(self, step: tf.Tensor, sign: tf.Tensor) -> None:
        """Takes in a step; runs in cross-replica context.

        Args:
            step: Step of training, from 1.
            sign: Mean of sign(D(real)) over the step's images on all replicas.
        """
        total = self._sum + sign
        mean = total / self._every
        due = step % self._every == 0
        moved = self.probability + self._increment * tf.sign(mean - self._target)
        moved = tf.clip_by_value(moved, 0.0, 1.0)
        self.probability.assign(tf.where(due, moved, self.probability))
        self.mean_sign.assign(tf.where(due, mean, self.mean_sign))
        self._sum.assign(tf.where(due, 0.0, total))


class Augmentation:
    """Callable on the images of a microbatch; the images themselves where the policy is empty.

    Args:
        config: Config of the run.
        adaptive: Gives the probability of each operation; None: always applied.
    """

    def __init__(self, config: AugmentationConfig, adaptive: AdaptiveProbability | None = None):
        self._policy = config.policy
        self._probability = adaptive.probability if adaptive else None

    def __call__(self, images: tf.Tensor, draws: MicrobatchDraws, stream: int) -> tf.Tensor:
        """Augments this replica's images float32 [B / R, H, W, 3] of a microbatch.

        Args:
            draws: Draws of the microbatch.
            stream: Stream of the random numbers, see `MicrobatchDraws.uniforms`.
        """
        if not self._policy:
            return images
        uniforms = draws.uniforms(stream, augment.NUM_UNIFORMS)
        return augment.augment(images, uniforms, self._policy, self._probability)
