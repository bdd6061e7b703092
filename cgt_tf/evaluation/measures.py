"""From features and labels to named numbers: the function that each metric stands for."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from cgt_tf.errors import InputError
from cgt_tf.evaluation.extraction import Outputs
from cgt_tf.evaluation.fid import GaussianStatistics, fid_infinity
from cgt_tf.evaluation.fld import feature_likelihood_divergence
from cgt_tf.evaluation.inception_score import inception_score
from cgt_tf.evaluation.intra_class import (
    classification_accuracy,
    intra_class_diversity,
    intra_class_fid,
    intra_class_kid,
    intra_class_variance,
)
from cgt_tf.evaluation.intra_cluster import intra_cluster_diversity
from cgt_tf.evaluation.kid import kernel_distance, kernel_distance_subsets
from cgt_tf.evaluation.kmmd import kernel_mmd
from cgt_tf.evaluation.mind import monge_distance
from cgt_tf.evaluation.prdc import prdc

PRDC_NEIGHBOURS = 5
SCORE_SPLITS = 10
SUBSETS, SUBSET_SIZE = 100, 1000


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """What a feature network says of labelled images.

    Attributes:
        outputs: features and logits of n images.
        labels: int32 [n].
        class_names: what the labels stand for.
    """

    outputs: Outputs
    labels: np.ndarray
    class_names: tuple[str, ...]

    @property
    def features(self) -> np.ndarray:
        return self.outputs.features

    def of_classes(self, names: Sequence[str]) -> "Measured":
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
        return Measured(self.outputs[labels >= 0], labels[labels >= 0], tuple(names))


@dataclasses.dataclass(frozen=True, eq=False)
class Measures:
    """Numbers by name, and by class."""

    scalars: dict[str, float] = dataclasses.field(default_factory=dict)
    per_class: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """Real and generated images, and what the metrics need besides.

    Attributes:
        real, fake: the images; generated ones in an order of which any stretch is a fair sample.
        statistics: returns the real features' Gaussian.
        training: returns the features of the training images; None where the real images are these,
            or where they are not known: then there is no `fld`.
        kmmd_samples: of the generated images, the first so many count for KMMD; 0: all.
        seed: of random subsets and directions.
    """

    real: Measured
    fake: Measured
    statistics: Callable[[], GaussianStatistics]
    training: Callable[[], np.ndarray] | None
    kmmd_samples: int
    seed: int


def measure(metrics: Sequence[str], images: Comparison) -> Measures:
    """Computes the metrics, in their order.

    Args:
        metrics: of `config.METRICS`; `accuracy` and `nearest`, which need more than features, are
            passed over.
        images: what to compare.

    Raises:
        InputError: too few images for a metric, classes that do not match, or no classifier.
    """
    found = Measures()
    for metric in metrics:
        if metric in _METRICS:
            _METRICS[metric](images, found)
    return found


def unknown_names(known: Sequence[str], wanted: Sequence[str]) -> list[str] | None:
    """The wanted names that a classifier does not know; None: no classifier, or without names."""
    return [name for name in wanted if name not in set(known)] if known else None


def accuracy(fake: Measured, known: Sequence[str]) -> dict[str, float | dict[str, float]]:
    """Share of generated images that the classifier gives the label that was asked for.

    Args:
        fake: with logits of the classes `known`.
        known: the classifier's classes, among them all of the images'.

    Returns:
        `overall`, over all images, and `per_class` by name.
    """
    own = {name: label for label, name in enumerate(fake.class_names)}
    table = np.array([own.get(name, -1) for name in known], np.int32)
    predictions = table[fake.outputs.logits.argmax(axis=1)]
    per_class = classification_accuracy(fake.labels, predictions, fake.class_names).per_class
    return {"overall": float(np.mean(predictions == fake.labels)), "per_class": per_class}


def _fid(images: Comparison, found: Measures) -> None:
    fake = GaussianStatistics.from_features(images.fake.features, "generated")
    found.scalars["fid"] = images.statistics().distance(fake)


def _fid_infinity(images: Comparison, found: Measures) -> None:
    result = fid_infinity(images.statistics(), images.fake.features, seed=images.seed)
    found.scalars["fid_infinity"] = result.value


def _kmmd(images: Comparison, found: Measures) -> None:
    fake = images.fake.features[: images.kmmd_samples or None]
    found.scalars["kmmd"] = kernel_mmd(images.real.features, fake)


def _kid(images: Comparison, found: Measures) -> None:
    real, fake = images.real.features, images.fake.features
    found.scalars["kid"] = kernel_distance(real, fake)
    # Subsets of at most half the images: of the whole set there is one only.
    size = min(SUBSET_SIZE, min(len(real), len(fake)) // 2)
    if size >= 2:
        result = kernel_distance_subsets(real, fake, SUBSETS, size, images.seed)
        found.scalars["kid_standard_error"] = result.standard_error


def _inception_score(images: Comparison, found: Measures) -> None:
    logits = images.fake.outputs.logits.astype(np.float64)
    if logits.shape[1] < 2:
        raise InputError("expected a feature network with class logits for the metric is")
    if len(logits) < 4:
        raise InputError(f"expected at least 4 scored images for the metric is, got {len(logits)}")
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    mean, deviation = inception_score(probabilities, min(SCORE_SPLITS, len(logits) // 2))
    found.scalars.update({"is": mean, "is_std": deviation})


def _prdc(images: Comparison, found: Measures) -> None:
    found.scalars.update(prdc(images.real.features, images.fake.features, PRDC_NEIGHBOURS))


def _mind(images: Comparison, found: Measures) -> None:
    real, fake = images.real.features, images.fake.features
    found.scalars["mind"] = monge_distance(real, fake, seed=images.seed)


def _intra_cluster(images: Comparison, found: Measures) -> None:
    real = images.training() if images.training else images.real.features
    result = intra_cluster_diversity(real, images.fake.features)
    found.scalars["intra_cluster"] = result.mean
    found.scalars["intra_cluster_balanced"] = result.balanced


def _fld(images: Comparison, found: Measures) -> None:
    real, fake = images.real.features, images.fake.features
    result = feature_likelihood_divergence(images.training(), real, fake, images.seed)
    found.scalars["fld"] = result.value
    found.scalars["fld_gap"], found.scalars["fld_gap_error"] = result.gap, result.gap_error


def _per_class(function: Callable, name: str) -> Callable[[Comparison, Measures], None]:
    def compute(images: Comparison, found: Measures) -> None:
        scores = function(*_within_classes(images))
        found.scalars[name], found.per_class[name] = scores.mean, scores.per_class

    return compute


def _diversity(images: Comparison, found: Measures) -> None:
    real, real_labels, fake, fake_labels, names = _within_classes(images)
    for name, scores in (
        ("diversity", intra_class_diversity(fake, fake_labels, names)),
        ("diversity_of_real", intra_class_diversity(real, real_labels, names)),
        ("variance_ratio", intra_class_variance(*_within_classes(images)).ratio),
    ):
        found.scalars[name], found.per_class[name] = scores.mean, scores.per_class


def _within_classes(images: Comparison) -> tuple:
    fake = images.fake
    real = images.real.of_classes(fake.class_names)
    return real.features, real.labels, fake.features, fake.labels, fake.class_names


_METRICS: dict[str, Callable[[Comparison, Measures], None]] = {
    "fid": _fid,
    "fid_infinity": _fid_infinity,
    "kmmd": _kmmd,
    "kid": _kid,
    "is": _inception_score,
    "prdc": _prdc,
    "intra_fid": _per_class(intra_class_fid, "intra_fid"),
    "intra_kid": _per_class(intra_class_kid, "intra_kid"),
    "mind": _mind,
    "intra_cluster": _intra_cluster,
    "fld": _fld,
    "diversity": _diversity,
}
