"""What a method trains, and when: stages of phases, each with its variables and its loss.

Like `methods.base`, without Keras and TensorFlow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from cgt_tf.config import OptimizerConfig

if TYPE_CHECKING:
    from cgt_tf.methods.run_networks import Networks


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam and its learning rate.

    Attributes:
        learning_rate, beta_1, beta_2, epsilon: As PyTorch has them.
        rampup_steps: Updates over which the learning rate grows from 0, linearly.
        decay: Factor of the learning rate every `decay_every` updates; not with a ramp.
    """

    learning_rate: float
    beta_1: float = 0.0
    beta_2: float = 0.999
    epsilon: float = 1e-6
    rampup_steps: int = 0
    decay: float = 1.0
    decay_every: int = 1

    @classmethod
    def of(cls, config: OptimizerConfig, **changes: Any) -> Adam:
        """The Adam of a group of knobs, with some fields changed."""
        names = ("learning_rate", "beta_1", "beta_2", "epsilon", "rampup_steps")
        return cls(**{**{name: getattr(config, name) for name in names}, **changes})


@dataclasses.dataclass(frozen=True)
class Trained:
    """Variables of one network that are trained alike.

    Attributes:
        network: Its name in `Networks`.
        optimizer: Their Adam.
        patterns: Regular expressions of the variables' names, see `select_variables`.
    """

    network: str
    optimizer: Adam
    patterns: tuple[str, ...] = (".*",)


@dataclasses.dataclass(frozen=True, eq=False)
class Microbatch:
    """What a loss is a function of: one replica's share of one microbatch, b images.

    Attributes:
        networks: Networks of the run.
        step: int64, steps of the run that are done, over all stages.
        update: int64, number of this update of the phase in its stage, from 0.
        images: Training images float32 [b, R, R, 3] in [-1, 1]; None in phases that read none.
        labels: Theirs, int32 [b].
        indices: Their numbers in the training set, int64 [b].
        draws: Its random numbers, see `training.draws.MicrobatchDraws`.
        augment: `augment(images, stream)`, the augmentation of all that a discriminator sees;
            images of different streams are augmented apart from each other.
    """

    networks: Networks
    step: Any
    update: Any
    images: Any
    labels: Any
    indices: Any
    draws: Any
    augment: Callable[[Any, int], Any]


class Terms(NamedTuple):
    """What a loss returns: scalars by name, each the mean over the microbatch's images.

    All are logged as means over the microbatches and replicas of a step.

    Attributes:
        minimized: Their sum is the loss.
        reported: Not part of it.
    """

    minimized: dict[str, Any]
    reported: dict[str, Any] = {}  # noqa: RUF012 - never changed


@dataclasses.dataclass(frozen=True, eq=False)
class Phase:
    """One kind of update in a stage's step. A phase of several stages keeps its optimizers' state.

    Attributes:
        name: Short; different from the other phases' of the method.
        trained: What is trained.
        loss: Function of the microbatch.
        every: Steps from one use to the next; in the steps between, its scalars are 0.
        updates: Made in a step.
        microbatches: How many an update takes; their gradients are averaged.
        images: Whether microbatches come with training images.
    """

    name: str
    trained: tuple[Trained, ...]
    loss: Callable[[Microbatch], Terms]
    every: int = 1
    updates: int = 1
    microbatches: int = 1
    images: bool = True


@dataclasses.dataclass(frozen=True, eq=False)
class Stage:
    """A part of training.

    Attributes:
        name: Short, as it appears in logs.
        steps: How many.
        phases: Phases of each step, in order.
        begin: Called when the stage begins; may assign variables, whose EMA starts over.
    """

    name: str
    steps: int
    phases: tuple[Phase, ...]
    begin: Callable[[], None] | None = None
