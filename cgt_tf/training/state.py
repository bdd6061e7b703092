"""Everything a resumed run needs: networks, optimizers, their EMA, the step."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

import tensorflow as tf

from cgt_tf.config import Config
from cgt_tf.errors import InputError
from cgt_tf.methods.phases import Phase, Stage
from cgt_tf.methods.run_networks import Networks
from cgt_tf.metrics.ranking import is_better
from cgt_tf.networks.weights import select_variables, variable_name
from cgt_tf.runs import checkpoints
from cgt_tf.training.alarms import EarlyStop
from cgt_tf.training.augmentation import AdaptiveProbability
from cgt_tf.training.fused_adam import FusedAdam
from cgt_tf.training.schedules import Scaled, ema_decay_at, learning_rate


class Ema:
    """Exponential moving average of networks' changing variables, statistics included.

    Built after a method has put its initial values in place, so that the EMA starts from them.
    Frozen variables are left out: they do not change.

    Args:
        variables: Keras variables by network, the trained ones and the non-trainable ones.
        decay: Share of the EMA that is kept each step.
        start: Up to this step the EMA follows the variables exactly.
        rampup: Let the decay grow from there, see `ema_decay_at`.

    Attributes:
        shadow: The EMA, by network and variable.
    """

    def __init__(
        self, variables: dict[str, list], decay: float, start: int = 0, rampup: bool = False
    ):
        self._live = {network: _by_name(group) for network, group in variables.items()}
        self._decay = decay
        self._start = start
        self._rampup = rampup
        self.shadow = {
            network: {
                name: tf.Variable(value, trainable=False, name="ema")
                for name, value in group.items()
            }
            for network, group in self._live.items()
        }

    def _pairs(self) -> Iterable[tuple]:
        for network, group in self._live.items():
            yield from zip(group.values(), self.shadow[network].values(), strict=True)

    def update(self, step) -> None:
        """Moves the EMA towards the present values; runs in cross-replica context."""
        keep = ema_decay_at(step, self._decay, self._start, self._rampup)
        for live, shadow in self._pairs():
            shadow.assign_add((1.0 - keep) * (live - shadow))

    def start_over(self) -> None:
        """Sets the EMA to the present values."""
        for live, shadow in self._pairs():
            shadow.assign(live)

    @contextlib.contextmanager
    def swapped(self):
        """Inside, the networks hold their EMA; afterwards their own values, bit for bit."""
        own = [(live, tf.identity(live)) for live, _ in self._pairs()]
        for live, shadow in self._pairs():
            live.assign(shadow)
        try:
            yield
        finally:
            for live, value in own:
                live.assign(value)


class PhaseOptimizer:
    """The optimizers of a phase, one for each kind of its trained variables.

    Args:
        phase: Phase of the run.
        networks: Networks of the run.
        scale: Variable that all learning rates are multiplied by.

    Attributes:
        variables: All trained Keras variables, in order.
    """

    def __init__(self, phase: Phase, networks: Networks, scale: tf.Variable):
        self.trained = phase.trained
        self._groups = []
        for part in phase.trained:
            found = select_variables(networks[part.network].trainable_variables, part.patterns)
            settings = part.optimizer
            optimizer = FusedAdam(
                Scaled(learning_rate(settings), scale),
                settings.beta_1,
                settings.beta_2,
                settings.epsilon,
            )
            optimizer.build(found)
            self._groups.append((optimizer, found))
        self.variables = [variable for _, found in self._groups for variable in found]

    @property
    def iterations(self) -> int:
        """Updates made so far."""
        return int(self._groups[0][0].iterations.numpy())

    def rates(self) -> dict[str, float]:
        """The present learning rates, by trained network; its parts are numbered if several."""
        names = [part.network for part in self.trained]
        return {
            name if names.count(name) == 1 else f"{name}_{i}": float(optimizer.learning_rate)
            for i, (name, (optimizer, _)) in enumerate(zip(names, self._groups, strict=True))
        }

    def learning_rates(self) -> dict[str, float]:
        """The present learning rate of each variable, by its path."""
        return {
            variable.path: float(optimizer.learning_rate)
            for optimizer, found in self._groups
            for variable in found
        }

    def apply(self, gradients: list) -> None:
        """One update; `gradients` in the order of `variables`."""
        rest = list(gradients)
        for optimizer, found in self._groups:
            optimizer.apply(rest[: len(found)], found)
            rest = rest[len(found) :]

    def checkpoint_parts(self) -> dict:
        """Counters and moments, for `tf.train.Checkpoint`."""
        return {
            f"group_{i}": _by_name(optimizer.variables)
            for i, (optimizer, _) in enumerate(self._groups)
        }


class TrainState:
    """Networks, optimizers, EMA and step of a run, over all its stages, as one checkpoint.

    Must be created in the strategy's scope, after the method has built and prepared the networks.

    Attributes:
        networks: Networks of the run.
        step: int64 variable, steps done over all stages.
        optimizers: `PhaseOptimizer` by the name of the phase.
        ema: EMA of the networks that samples are made with, or None where `ema_decay` is 0.
        best_score: Best score of the evaluations so far, by `evaluation.best`; None before the
            first. No part of the checkpoint, as stats.jsonl has the scores.
        rate_scale: float32 variable that all learning rates are multiplied by, 1 at first.
        adaptive: ADA's probability, or None where it is off.
        early_stop: Counts evaluations without a better score, or None where it is off.
    """

    def __init__(
        self,
        networks: Networks,
        stages: tuple[Stage, ...],
        config: Config,
        ema_networks: tuple[str, ...] = ("generator",),
    ):
        self.networks = networks
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self.best_score: float | None = None
        self._criterion = config.evaluation.best
        self.rate_scale = tf.Variable(1.0, trainable=False, name="rate_scale")
        self.optimizers = _optimizers(networks, stages, self.rate_scale)
        training, augmentation = config.training, config.augmentation
        self.adaptive = self.early_stop = self.ema = None
        if augmentation.adaptive:
            self.adaptive = AdaptiveProbability(augmentation, training.batch_size)
        if training.early_stop:
            self.early_stop = EarlyStop(training.early_stop)
        if training.ema_decay:
            changing = {name: self._changing(name) for name in ema_networks}
            self.ema = Ema(changing, training.ema_decay, training.ema_start, training.ema_rampup)
        self.checkpoint = tf.train.Checkpoint(**self._parts())

    def _changing(self, network: str) -> list:
        """Variables of a network that any stage trains, and those that move in training."""
        trained = {id(v) for o in self.optimizers.values() for v in o.variables}
        layer = self.networks[network]
        found = [v for v in layer.trainable_variables if id(v) in trained]
        return [*found, *layer.non_trainable_variables]

    def _parts(self) -> dict:
        parts = {
            "step": self.step,
            "rate_scale": self.rate_scale,
            checkpoints.NETWORKS: {
                name: _by_name(network.variables) for name, network in self.networks.named.items()
            },
            "optimizers": {name: o.checkpoint_parts() for name, o in self.optimizers.items()},
        }
        if self.ema:
            parts[checkpoints.EMA] = self.ema.shadow
        if self.adaptive:
            parts["adaptive"] = self.adaptive.variables
        return parts

    def hold_frozen_kernels(self) -> None:
        """Spares the steps what does not change in the generator's convolutions.

        Runs in the strategy's scope, after a checkpoint was read.
        """
        trained = {id(v) for o in self.optimizers.values() for v in o.variables}
        for layer in self.networks.generator.convolutions:
            # A spectral norm moves even where the kernel stays.
            if id(layer.kernel) not in trained and not layer.spectral_norm:
                layer.hold()

    def holding_ema(self):
        """Context in which the networks hold their EMA (themselves where none are kept)."""
        return self.ema.swapped() if self.ema else contextlib.nullcontext()

    def note_scores(self, scores: dict[str, float]) -> None:
        """Takes in the scores of an evaluation: the best one, and how long ago it was."""
        self._note(scores.get(self._criterion))

    def note_again(self, values: Iterable[float]) -> None:
        """Takes in the scores, in order, of a run that is resumed, and forgets all others."""
        self.best_score = None
        if self.early_stop:
            self.early_stop.stale = 0
        for value in values:
            self._note(value)

    def _note(self, value: float | None) -> None:
        improved = value is not None and is_better(self._criterion, value, self.best_score)
        if improved:
            self.best_score = value
        if self.early_stop:
            self.early_stop.count(improved)

    @property
    def stopped_early(self) -> bool:
        """Whether the run has gone for as long without a better score as the config allows."""
        return self.early_stop is not None and self.early_stop.due

    def restore(self, path: str | Path) -> None:
        """Reads a checkpoint written by `checkpoint.write`; every value must match one there."""
        try:
            self.checkpoint.read(str(path)).assert_consumed()
        except (AssertionError, ValueError, tf.errors.OpError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"expected a checkpoint of this run at {path}: {reason}") from error


def _optimizers(
    networks: Networks, stages: tuple[Stage, ...], scale: tf.Variable
) -> dict[str, PhaseOptimizer]:
    found: dict[str, PhaseOptimizer] = {}
    for stage in stages:
        for phase in stage.phases:
            if phase.name not in found:
                found[phase.name] = PhaseOptimizer(phase, networks, scale)
            elif found[phase.name].trained != phase.trained:
                raise ValueError(f"phases called {phase.name} train different variables")
    return found


def _by_name(variables: list) -> dict:
    # Without the first component, which Keras numbers by what else the process has created.
    return {variable_name(variable): variable.value for variable in variables}
