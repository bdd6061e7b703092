"""Everything a resumed run needs: networks, optimizers, the generator's average, the step."""

import contextlib
from pathlib import Path

import keras
import tensorflow as tf

from cgt_tf.config import Config, OptimizerConfig
from cgt_tf.errors import InputError
from cgt_tf.methods.base import Reconstruction, Stage, select_variables, variable_name
from cgt_tf.models.gan import Gan
from cgt_tf.training.alarms import EarlyStop
from cgt_tf.training.augmentation import AdaptiveProbability
from cgt_tf.training.grouped_adam import GroupedAdam
from cgt_tf.training.schedules import average_decay, step_size


class GeneratorAverage:
    """Exponential moving average of a generator's changing variables, statistics included.

    Built after a method has put its initial values in place, so that the average starts from them.
    Frozen variables are left out: they have nothing to average.

    Args:
        variables: Keras variables, the trained ones and the non-trainable ones.
        decay: share of the old average kept each step.
        start: up to this step the average follows the variables exactly.
        rampup: let the decay grow from there, see `average_decay`.
    """

    def __init__(self, variables: list, decay: float, start: int = 0, rampup: bool = False):
        self._live = [v.value for v in variables]
        self._decay = decay
        self._start = start
        self._rampup = rampup
        self.shadow = [tf.Variable(v, trainable=False, name="average") for v in self._live]

    def update(self, step):
        """Moves the average towards the present values; runs in cross-replica context."""
        keep = average_decay(step, self._decay, self._start, self._rampup)
        for shadow, live in zip(self.shadow, self._live, strict=True):
            shadow.assign_add((1.0 - keep) * (live - shadow))

    def overwrite(self) -> None:
        """Puts the average into the generator for good (for evaluation and export)."""
        for live, shadow in zip(self._live, self.shadow, strict=True):
            live.assign(shadow)

    @contextlib.contextmanager
    def swapped(self):
        """Inside, the generator holds its average; afterwards its own values, bit for bit."""
        own = [tf.identity(live) for live in self._live]
        self.overwrite()
        try:
            yield
        finally:
            for live, value in zip(self._live, own, strict=True):
                live.assign(value)


class TrainState:
    """Networks, optimizers, average and step of one stage, as one checkpoint.

    Must be created in the strategy's scope, after the method has built the networks.

    Attributes:
        gan: the networks.
        step: int64 variable, generator updates done.
        generator_variables, discriminator_variables: the trained Keras variables.
        average: the generator's `GeneratorAverage`, or None where `ema_decay` is 0.
        best_fid: float32 variable, the lowest FID so far.
        adaptive: ADA's probability, or None where it is off.
        early_stop: counts evaluations without a lower FID, or None where it is off.
        grouped_adam: of a supervised stage, in place of the two networks' optimizers.
    """

    def __init__(self, gan: Gan, stage: Stage, config: Config):
        self.gan = gan
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self.best_fid = tf.Variable(float("inf"), trainable=False, name="best_fid")
        networks = (gan.generator, gan.discriminator)
        trainable = [network.trainable_variables if network else [] for network in networks]
        self.generator_variables = select_variables(trainable[0], stage.generator)
        self.discriminator_variables = select_variables(trainable[1], stage.discriminator)
        training, augmentation = config.training, config.augmentation
        self.adaptive = self.early_stop = self.average = None
        if augmentation.adaptive:
            self.adaptive = AdaptiveProbability(augmentation, training.batch_size)
        if training.early_stop:
            self.early_stop = EarlyStop(training.early_stop)
        if training.ema_decay:
            changing = [*self.generator_variables, *gan.generator.non_trainable_variables]
            self.average = GeneratorAverage(
                changing, training.ema_decay, training.ema_start, training.ema_rampup
            )
        parts = {
            "step": self.step,
            "best_fid": self.best_fid,
            "generator": _by_path(gan.generator.variables),
        }
        if stage.reconstruction:
            parts |= self._supervised_parts(stage.reconstruction, config)
        else:
            parts |= self._adversarial_parts(config)
        if self.average:
            parts["average"] = self.average.shadow
        if self.adaptive:
            parts["adaptive"] = self.adaptive.variables
        if self.early_stop:
            parts["stale_evaluations"] = self.early_stop.stale
        self.checkpoint = tf.train.Checkpoint(**parts)

    def _adversarial_parts(self, config: Config) -> dict:
        self._partial = False
        self.generator_optimizer = _adam(config.generator, self.generator_variables)
        self.discriminator_optimizer = _adam(config.discriminator, self.discriminator_variables)
        return {
            "discriminator": _by_path(self.gan.discriminator.variables),
            "generator_optimizer": _by_path(self.generator_optimizer.variables),
            "discriminator_optimizer": _by_path(self.discriminator_optimizer.variables),
        }

    def _supervised_parts(self, reconstruction: Reconstruction, config: Config) -> dict:
        # Without the images there are no codes: networks can be read, but not trained on.
        self._partial = not reconstruction.variables
        if self._partial:
            return {}
        variables = [*self.generator_variables, *reconstruction.variables]
        self.grouped_adam = GroupedAdam(variables, reconstruction, config.generator)
        return {
            "codes": _by_path(reconstruction.variables),
            "grouped_adam": self.grouped_adam.checkpoint_parts(),
        }

    def averaged(self):
        """Context in which the generator holds its average (itself where none is kept)."""
        return self.average.swapped() if self.average else contextlib.nullcontext()

    def note_scores(self, scores: dict[str, float]) -> None:
        """Takes in the scores of an evaluation: the lowest FID, and how long ago it was."""
        fid = scores.get("fid", float("inf"))
        if self.early_stop:
            self.early_stop.count(fid < self.best_fid)
        self.best_fid.assign(min(self.best_fid, fid))

    @property
    def stopped_early(self) -> bool:
        """Whether the run has gone for as long without a lower FID as the config allows."""
        return self.early_stop is not None and self.early_stop.due

    def restore(self, path: str | Path) -> None:
        """Reads a checkpoint written by `checkpoint.write`; every value must match one there."""
        try:
            status = self.checkpoint.read(str(path))
            if self._partial:
                status.assert_existing_objects_matched().expect_partial()
            else:
                status.assert_consumed()
        except (AssertionError, ValueError, tf.errors.OpError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"expected a checkpoint of this run at {path}: {reason}") from error


def _adam(config: OptimizerConfig, variables: list) -> keras.optimizers.Adam:
    optimizer = keras.optimizers.Adam(
        learning_rate=step_size(config),
        beta_1=config.beta_1,
        beta_2=config.beta_2,
        epsilon=config.epsilon,
    )
    optimizer.build(variables)
    return optimizer


def _by_path(variables: list) -> dict:
    # Without the first component, which Keras numbers by what else the process has created.
    return {variable_name(variable): variable.value for variable in variables}
