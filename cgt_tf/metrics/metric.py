"""What a metric is: a function of the features of real and generated images, and its facts."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cgt_tf.errors import InputError
from cgt_tf.metrics.gaussian import GaussianStatistics

LOWER, HIGHER = "lower", "higher"


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledFeatures:
    """What a feature network says of n labelled images.

    Attributes:
        features: float32 [n, d].
        logits: float32 [n, k]; k is 0 where the network is no classifier, or nobody needs them.
        labels: int32 [n].
        class_names: Names of the labels 0, 1, ...
    """

    features: np.ndarray
    logits: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]

    def __getitem__(self, rows: np.ndarray) -> "LabelledFeatures":
        return LabelledFeatures(
            self.features[rows], self.logits[rows], self.labels[rows], self.class_names
        )

    def of_classes(self, names: Sequence[str]) -> "LabelledFeatures":
        """The images of these classes, numbered in this order.

        Raises:
            InputError: a class that there is no image of.
        """
        lacking = [name for name in names if name not in self.class_names]
        if lacking:
            raise InputError(
                f"expected real images of every scored class for metrics within classes, got none "
                f"of {lacking[0]!r}"
            )
        table = np.full(len(self.class_names), -1, np.int32)
        table[[self.class_names.index(name) for name in names]] = np.arange(len(names))
        labels = table[self.labels]
        rows = labels >= 0
        return LabelledFeatures(self.features[rows], self.logits[rows], labels[rows], tuple(names))


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Comparison:
    """Real and generated images, and what some metrics need besides.

    Attributes:
        real: The reference images.
        fake: The generated images, in an order of which any stretch is a fair sample.
        statistics: Returns the Gaussian of the real features.
        training: Returns the features of the training images [t, d]; None where the real images
            are these, or where they are not known.
        known_classes: Classes of the feature network's logits; empty where unknown.
        kmmd_samples: Only the first so many generated images count for KMMD; 0: all.
        seed: Seed of random subsets and directions.
    """

    real: LabelledFeatures
    fake: LabelledFeatures
    statistics: Callable[[], GaussianStatistics]
    training: Callable[[], np.ndarray] | None = None
    known_classes: tuple[str, ...] = ()
    kmmd_samples: int = 0
    seed: int = 0

    def within_classes(self) -> tuple:
        """Real features, their labels, generated features, their labels, class names."""
        real = self.real.of_classes(self.fake.class_names)
        return (
            *(real.features, real.labels),
            *(self.fake.features, self.fake.labels, self.fake.class_names),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """What a metric found.

    Attributes:
        scalars: Numbers by name.
        per_class: Numbers by name and class.
        warnings: One line for each thing that makes the numbers less than they seem.
        details: Something of the metric's own, for pictures.
    """

    scalars: dict[str, float]
    per_class: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    details: Any = None


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric of the registry.

    Attributes:
        compute: Raises an InputError for images that it cannot compare.
        better: Which values are better, LOWER or HIGHER, by the names of its numbers; a number
            that is neither, such as a standard error, is left out.
        needs_training: Whether it needs training images beside other real ones.
        needs_classifier: Whether it needs a feature network that knows all classes.
        unasked: Whether it is measured wherever it can be, after those that were asked for.
    """

    compute: Callable[[Comparison], Found]
    better: Mapping[str, str]
    needs_training: bool = False
    needs_classifier: bool = False
    unasked: bool = False
