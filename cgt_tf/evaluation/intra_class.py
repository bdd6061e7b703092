"""Metrics within each class: distances, diversity, variance and accuracy, and their means.

A score over all images hides a class that failed: a generator can cover ten classes well and repeat
one image in the eleventh. Few-shot transfer is therefore scored class by class.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from cgt_tf.errors import InputError
from cgt_tf.evaluation import distances
from cgt_tf.evaluation.fid import frechet_distance
from cgt_tf.evaluation.kid import kernel_distance


@dataclasses.dataclass(frozen=True)
class ClassScores:
    """One number for each class.

    Attributes:
        per_class: {class name: value}, in the order of the labels.
        mean: over the classes, each of one weight.
    """

    per_class: dict[str, float]
    mean: float

    @classmethod
    def of(cls, per_class: dict[str, float]) -> "ClassScores":
        return cls(per_class, float(np.mean(list(per_class.values()))))


@dataclasses.dataclass(frozen=True)
class VarianceRatio:
    """Feature variance within the classes of real and of generated images.

    Attributes:
        real, fake: mean over the features of the sample variance within a class.
        ratio: fake / real. Towards 0, the class has collapsed to few images.
    """

    real: ClassScores
    fake: ClassScores
    ratio: ClassScores


def intra_class_fid(
    real: np.ndarray,
    real_labels: np.ndarray,
    fake: np.ndarray,
    fake_labels: np.ndarray,
    class_names: Sequence[str] | None = None,
) -> ClassScores:
    """`frechet_distance` of each class's generated images to its real ones, and their mean.

    Args:
        real: features of the real images [n, d].
        real_labels: their classes, integers [n].
        fake: features of the generated images [m, d].
        fake_labels: their classes, integers [m].
        class_names: names of the labels 0 to K - 1, all of which are scored. Default: the labels
            that occur in either set, by their numbers.

    Raises:
        InputError: as the metric; labels that do not fit; a class of fewer than two real or
            generated samples, which is named.
    """
    classes = _paired_classes(real, real_labels, fake, fake_labels, class_names)
    return _scores(frechet_distance, classes)


def intra_class_kid(
    real: np.ndarray,
    real_labels: np.ndarray,
    fake: np.ndarray,
    fake_labels: np.ndarray,
    class_names: Sequence[str] | None = None,
) -> ClassScores:
    """`kernel_distance` of each class's generated images to its real ones; see `intra_class_fid`.

    Unbiased, so that classes of different numbers of images are comparable.
    """
    classes = _paired_classes(real, real_labels, fake, fake_labels, class_names)
    return _scores(kernel_distance, classes)


def intra_class_diversity(
    features: np.ndarray, labels: np.ndarray, class_names: Sequence[str] | None = None
) -> ClassScores:
    """Mean euclidean distance between two different images of a class.

    Follows the diversity of StarGAN v2 (Choi et al., CVPR 2020) and the intra-cluster LPIPS of
    few-shot generation (Ojha et al., "Few-shot Image Generation via Cross-domain Correspondence",
    CVPR 2021), with two differences: the distance is that of the given features, and groups are the
    classes, not the nearest training images. Compare values of one feature network only.

    Args:
        features: [n, d].
        labels: integers [n].
        class_names: as for `intra_class_fid`.

    Returns:
        Values >= 0; 0 for a class that repeats one image.

    Raises:
        InputError: features that are not finite; labels that do not fit; a class of fewer than two
            samples, which is named.
    """
    classes = _single_classes(features, labels, class_names, "the")
    return _scores(mean_distance, classes)


def intra_class_variance(
    real: np.ndarray,
    real_labels: np.ndarray,
    fake: np.ndarray,
    fake_labels: np.ndarray,
    class_names: Sequence[str] | None = None,
) -> VarianceRatio:
    """Sample variance within each class, averaged over the features: an alarm for collapse.

    Args and errors as `intra_class_fid`; also an InputError for a class whose real images have
    constant features, since the ratio to them is undefined.
    """
    classes = _paired_classes(real, real_labels, fake, fake_labels, class_names)
    real_variance = _scores(lambda real, fake: _mean_variance(real), classes)
    fake_variance = _scores(lambda real, fake: _mean_variance(fake), classes)
    for name, variance in real_variance.per_class.items():
        if not variance > 0.0:
            raise InputError(
                f"expected real features that differ within class {name!r}, got constant features"
            )
    ratio = {
        name: fake_variance.per_class[name] / variance
        for name, variance in real_variance.per_class.items()
    }
    return VarianceRatio(real_variance, fake_variance, ClassScores.of(ratio))


def classification_accuracy(
    labels: np.ndarray, predictions: np.ndarray, class_names: Sequence[str] | None = None
) -> ClassScores:
    """Share of generated images that a classifier assigns to the class they were generated for.

    Args:
        labels: the classes that were asked for, integers [n].
        predictions: the classifier's, integers [n]; those of other classes count as wrong.
        class_names: as for `intra_class_fid`.

    Returns:
        Values in [0, 1].

    Raises:
        InputError: labels or predictions that do not fit, or a named class without samples.
    """
    labels = _check_labels(labels, None, "generated")
    predictions = _check_labels(predictions, len(labels), "predicted")
    correct = {}
    for label, name in _named_labels([labels], class_names).items():
        members = labels == label
        if not members.any():
            raise InputError(f"expected generated samples of class {name!r}, got none")
        correct[name] = float(np.mean(predictions[members] == label))
    return ClassScores.of(correct)


def _scores(
    metric: Callable[..., float], classes: dict[str, tuple[np.ndarray, ...]]
) -> ClassScores:
    """The metric of each class; an error of one of them names it."""
    scores = {}
    for name, arrays in classes.items():
        try:
            scores[name] = metric(*arrays)
        except InputError as error:
            raise InputError(f"class {name!r}: {error}") from error
    return ClassScores.of(scores)


def mean_distance(features: np.ndarray) -> float:
    """Mean euclidean distance between two different rows of checked features [n >= 2, d]."""

    def distance(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return np.sqrt(distances.squared_distances(left, right))

    with np.errstate(over="ignore", invalid="ignore"):  # reported below
        centre = features.mean(axis=0, dtype=np.float64)
        total = distances.sum_within(features, distance, centre)
    distances.check_finite(total)
    return total / (len(features) * (len(features) - 1))


def _mean_variance(features: np.ndarray) -> float:
    with np.errstate(over="ignore", invalid="ignore"):  # reported below
        # From the first sample, so that equal rows have variance 0 and not rounding noise.
        offset = features[0].astype(np.float64)
        mean = sum(block.sum(axis=0) for _, block in distances.row_blocks(features, offset))
        centre = offset + mean / len(features)
        scatter = sum(
            float(np.vdot(block, block)) for _, block in distances.row_blocks(features, centre)
        )
    distances.check_finite(scatter)
    return scatter / (len(features) - 1) / features.shape[1]


def _paired_classes(
    real: np.ndarray,
    real_labels: np.ndarray,
    fake: np.ndarray,
    fake_labels: np.ndarray,
    class_names: Sequence[str] | None,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{class name: (real features, generated features)}, of at least two samples each."""
    real, fake = distances.check_pair(real, fake)
    real_labels = _check_labels(real_labels, len(real), "real")
    fake_labels = _check_labels(fake_labels, len(fake), "generated")
    names = _named_labels([real_labels, fake_labels], class_names)
    return {
        name: (
            _members(real, real_labels, label, name, "real"),
            _members(fake, fake_labels, label, name, "generated"),
        )
        for label, name in names.items()
    }


def _single_classes(
    features: np.ndarray, labels: np.ndarray, class_names: Sequence[str] | None, what: str
) -> dict[str, tuple[np.ndarray]]:
    features = distances.check_features(features, what)
    labels = _check_labels(labels, len(features), what)
    names = _named_labels([labels], class_names)
    return {name: (_members(features, labels, label, name, what),) for label, name in names.items()}


def _check_labels(labels: np.ndarray, count: int | None, what: str) -> np.ndarray:
    array = np.asarray(labels)
    wanted = "n" if count is None else count
    if array.ndim != 1 or array.dtype.kind not in "iu" or array.size != (count or array.size or 1):
        raise InputError(
            f"expected {what} labels as integers [{wanted}], got {array.dtype} {list(array.shape)}"
        )
    return array


def _named_labels(
    labels: Sequence[np.ndarray], class_names: Sequence[str] | None
) -> dict[int, str]:
    present = np.unique(np.concatenate(labels))
    if class_names is None:
        return {int(label): str(label) for label in present}
    if len(set(class_names)) != len(class_names):
        raise InputError(f"expected class names that differ, got {list(class_names)}")
    if present[0] < 0 or present[-1] >= len(class_names):
        raise InputError(
            f"expected labels in [0, {len(class_names) - 1}] for {len(class_names)} class names, "
            f"got {present[0]} to {present[-1]}"
        )
    return dict(enumerate(class_names))


def _members(
    features: np.ndarray, labels: np.ndarray, label: int, name: str, what: str
) -> np.ndarray:
    members = features[labels == label]
    if len(members) < 2:
        kind = "" if what == "the" else f"{what} "
        raise InputError(f"expected at least 2 {kind}samples of class {name!r}, got {len(members)}")
    return members
