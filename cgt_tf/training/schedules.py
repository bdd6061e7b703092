"""What changes with the step: the step size, the average's decay, the class part of the loss."""

import keras
import tensorflow as tf
from keras import ops

from cgt_tf.config import OptimizerConfig


def linear_ramp(step, start: int, end: int) -> tf.Tensor:
    """0 up to step `start`, 1 from step `end`, linear in between; float32."""
    share = (tf.cast(step, tf.float32) - start) / (end - start)
    return tf.clip_by_value(share, 0.0, 1.0)


@keras.saving.register_keras_serializable(package="cgt_tf")
class LinearRampUp(keras.optimizers.schedules.LearningRateSchedule):
    """Update number n = 1, 2, ... has the step size `learning_rate * min(1, n / steps)`.

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


def step_size(config: OptimizerConfig) -> float | LinearRampUp:
    """The learning rate of a network's optimizer, constant or with its ramp."""
    if config.rampup_steps:
        return LinearRampUp(config.learning_rate, config.rampup_steps)
    return config.learning_rate


def average_decay(step, decay: float, start: int, rampup: bool) -> tf.Tensor:
    """Share of an average that is kept at a step; float32.

    Before `start` 0: the average is the value itself. From there `decay`; with `rampup` at most
    (1 + t) / (10 + t) after t steps, so that a short run is not averaged with its beginning (as
    `tf.train.ExponentialMovingAverage` has it with `num_updates`).
    """
    kept = tf.constant(decay, tf.float32)
    if rampup:
        count = tf.cast(step - start, tf.float32)
        kept = tf.minimum(kept, (1.0 + count) / (10.0 + count))
    return tf.where(step >= start, kept, 0.0)
