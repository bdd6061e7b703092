"""Adam with a step size for each group of variables, as a supervised stage names them."""

import re

import keras
import tensorflow as tf

from cgt_tf.config import OptimizerConfig
from cgt_tf.methods.base import Reconstruction, variable_name


class GroupedAdam:
    """One Adam for each step size; must be created in the strategy's scope.

    Args:
        variables: the trained Keras variables of all groups.
        reconstruction: names step sizes by pattern, and how they fall.
        config: the step size of all others, and the other constants.
    """

    def __init__(self, variables: list, reconstruction: Reconstruction, config: OptimizerConfig):
        self.variables = list(variables)
        by_rate: dict[float, list[int]] = {}
        for i, variable in enumerate(self.variables):
            rate = _rate(variable, reconstruction.learning_rates, config.learning_rate)
            by_rate.setdefault(rate, []).append(i)
        self._groups = list(by_rate.values())
        self._optimizers = []
        for rate, members in by_rate.items():
            schedule = keras.optimizers.schedules.ExponentialDecay(
                rate, reconstruction.decay_every, reconstruction.decay, staircase=True
            )
            optimizer = keras.optimizers.Adam(
                schedule, config.beta_1, config.beta_2, config.epsilon
            )
            optimizer.build([self.variables[i] for i in members])
            self._optimizers.append(optimizer)

    @property
    def step_sizes(self) -> dict[str, float]:
        """The present step size of each variable, by name."""
        sizes = {}
        for members, optimizer in zip(self._groups, self._optimizers, strict=True):
            size = float(optimizer.learning_rate)
            sizes |= {variable_name(self.variables[i]): size for i in members}
        return sizes

    def apply(self, gradients: list) -> None:
        """One update; `gradients` in the order of `variables`, dense or sparse."""
        # Dense, so that the moments of an image's code fall in the steps that do not see it.
        dense = [tf.convert_to_tensor(gradient) for gradient in gradients]
        for members, optimizer in zip(self._groups, self._optimizers, strict=True):
            optimizer.apply([dense[i] for i in members], [self.variables[i] for i in members])

    def checkpoint_parts(self) -> dict:
        """Counters and moments, for `tf.train.Checkpoint`."""
        return {
            f"group_{i}": {variable_name(v): v.value for v in optimizer.variables}
            for i, optimizer in enumerate(self._optimizers)
        }


def _rate(variable, rates: dict[str, float], default: float) -> float:
    name = variable_name(variable)
    return next((rate for pattern, rate in rates.items() if re.fullmatch(pattern, name)), default)
