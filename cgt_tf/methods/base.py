"""What a transfer method is: four functions and the variables it trains."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

from cgt_tf.config import Config
from cgt_tf.errors import InputError
from cgt_tf.models.fold import ExtendedGenerator
from cgt_tf.models.gan import Gan


@dataclasses.dataclass(frozen=True)
class DataSpec:
    """The new classes.

    Attributes:
        class_names: one name a class, in label order.
        resolution: side of the square images, in pixels.
    """

    class_names: tuple[str, ...]
    resolution: int


@dataclasses.dataclass(frozen=True)
class Reconstruction:
    """What a stage minimises that has no discriminator.

    Attributes:
        loss: called with images float32 [b, R, R, 3] in [-1, 1], their labels int32 [b], their
            indices in the training set int64 [b], and normal draws float32 [b, draws, dim_z];
            the parts of the loss, means over the batch, by name.
        variables: what is trained besides the generator's, e.g. a code for each image; empty before
            `TransferMethod.prepare`, when a checkpoint's networks can only be read.
        learning_rates: step sizes by regular expression of a variable's name, the first that
            matches; `config.generator.learning_rate` for all others.
        decay: factor of all step sizes every `decay_every` steps.
        decay_every: see `decay`.
        draws: how many draws of z an image needs.
    """

    loss: Callable[..., dict[str, Any]]
    variables: tuple = ()
    learning_rates: dict[str, float] = dataclasses.field(default_factory=dict)
    decay: float = 1.0
    decay_every: int = 1
    draws: int = 1


@dataclasses.dataclass(frozen=True)
class Stage:
    """A part of training with its own trained variables.

    Attributes:
        name: short, as it appears in logs.
        steps: generator updates.
        generator: regular expressions of the generator's trained variables, see `select_variables`.
        discriminator: the same for the discriminator.
        penalties: called without arguments once a generator update; scalar tensors by name, added
            to the generator's loss.
        reconstruction: makes the stage a supervised one, of the generator alone.
    """

    name: str
    steps: int
    generator: tuple[str, ...] = (".*",)
    discriminator: tuple[str, ...] = (".*",)
    penalties: Callable[[], dict[str, Any]] = dict
    reconstruction: Reconstruction | None = None


class TransferMethod:
    """Base of all methods; a method file implements `build`, `stages` and `extended`.

    Args:
        config: the run's config; a method reads `config.method` and what it needs besides.
    """

    def __init__(self, config: Config):
        self.config = config

    @property
    def keeps_old_classes(self) -> bool:
        """Whether `extended` holds the source's classes besides the new ones."""
        return False

    def build(self, source: Gan | None, target: DataSpec) -> Gan:
        """Returns the GAN to train, with `target`'s classes; the source is left as it is."""
        raise NotImplementedError(f"{type(self).__name__} must define build")

    def prepare(self, gan: Gan, data: Any) -> None:
        """Work before the first step, e.g. inverting the images; nothing by default."""

    def continue_from(self, gan: Gan, previous: Gan) -> None:
        """Starts from the networks of an earlier run, for methods whose config can name one."""
        raise InputError(
            f"--config.method.start is for cgan_transfer, got {self.config.method.name}"
        )

    def stages(self) -> tuple[Stage, ...]:
        """The stages of training, in order."""
        raise NotImplementedError(f"{type(self).__name__} must define stages")

    def extended(self, gan: Gan) -> ExtendedGenerator:
        """Folds the present weights into one generator of old and new classes."""
        raise NotImplementedError(f"{type(self).__name__} must define extended")

    def as_source(self, gan: Gan) -> Gan:
        """Old and new classes as a source of further transfers; its discriminator knows the new."""
        extended = self.extended(gan)
        spec = dataclasses.replace(extended.spec, d_classes=gan.spec.num_classes)
        return Gan(spec, extended.generator, gan.discriminator, extended.class_names)


def select_variables(variables: list, patterns: tuple[str, ...]) -> list:
    """The trainable variables whose path below the network matches any of `patterns`.

    Args:
        variables: Keras variables; `generator/block_0/conv1/kernel` is matched as
            `block_0/conv1/kernel`, from its start to its end.
        patterns: regular expressions; each must match at least one variable.

    Raises:
        InputError: a pattern that matches nothing.
    """
    for pattern in patterns:
        if not any(re.fullmatch(pattern, variable_name(v)) for v in variables):
            raise InputError(f"expected the pattern {pattern!r} to match a variable, got none")
    return [v for v in variables if any(re.fullmatch(p, variable_name(v)) for p in patterns)]


def variable_name(variable) -> str:
    """A Keras variable's path below its network: `block_0/conv1/kernel`."""
    return variable.path.partition("/")[2]
