"""What changes with the step: learning rates, and the decay of the EMA."""

import keras
import tensorflow as tf
from keras import ops

from cgt_tf.methods.phases import Adam


@keras.saving.register_keras_serializable(package="cgt_tf")
class LinearRampUp(keras.optimizers.schedules.LearningRateSchedule):
    """Update number n = 1, 2, ... has the learning rate `learning_rate * min(1, n / steps)`.

    Counts by the optimizer's own iterations, which are part of a checkpoint.
    """

    def __init__(self, learning_rate: float, steps: int):
        self._learning_rate = learning_rate
        self._steps = steps

    def __call__(self, step):
        number = ops.cast(step, "float32") + 1.0
        return self._learning_rate * ops.minimum(1.0, number / self._steps)

    def get_config(self) -> dict:
        return {"learning_rate": self._learning_rate, "steps": self._steps}


@keras.saving.register_keras_serializable(package="cgt_tf")
class Scaled(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate times a variable that a diverged run lowers."""

    def __init__(self, rate, scale: tf.Variable):
        self._rate = rate
        self._scale = scale

    def __call__(self, step):
        rate = self._rate(step) if callable(self._rate) else self._rate
        return rate * self._scale.read_value()

    def get_config(self) -> dict:
        return {"rate": self._rate, "scale": self._scale}


def learning_rate(adam: Adam) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate of an optimizer: constant, with its ramp, or falling in steps."""
    if adam.rampup_steps:
        return LinearRampUp(adam.learning_rate, adam.rampup_steps)
    if adam.decay != 1.0:
        return keras.optimizers.schedules.ExponentialDecay(
            adam.learning_rate, adam.decay_every, adam.decay, staircase=True
        )
    return adam.learning_rate


def ema_decay_at(step, decay: float, start: int, rampup: bool) -> tf.Tensor:
    """Share of the EMA that is kept at a step; float32.

    Before `start` 0: the EMA is the value itself. From there `decay`; with `rampup` at most
    (1 + t) / (10 + t) after t steps, so that a short run's EMA does not hold its beginning (as
    `tf.train.ExponentialMovingAverage` has it with `num_updates`).
    """
    kept = tf.constant(decay, tf.float32)
    if rampup:
        count = tf.cast(step - start, tf.float32)
        kept = tf.minimum(kept, (1.0 + count) / (10.0 + count))
    return tf.where(step >= start, kept, 0.0)
