"""Metrics class by class: one number each, and their mean.

A score over all images hides a class that failed: a generator can cover ten classes well and repeat
one image in the eleventh. Few-shot transfer is therefore scored class by class.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from cgt_tf.errors import InputError
from cgt_tf.metrics import distances


@dataclasses.dataclass(frozen=True)
class ClassScores:
    """One number for each class.

    Attributes:
        per_class: {class name: value}, in the order of the labels.
        mean: Over the classes, each of one weight.
    """

    per_class: dict[str, float]
    mean: float

    @classmethod
    def of(cls, per_class: dict[str, float]) -> "ClassScores":
        return cls(per_class, float(np.mean(list(per_class.values()))))


def scores_of(
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


def paired_classes(
    real: np.ndarray,
    real_labels: np.ndarray,
    fake: np.ndarray,
    fake_labels: np.ndarray,
    class_names: Sequence[str] | None,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{class name: (real features, generated features)}, of at least two samples each."""
    real, fake = distances.check_pair(real, fake)
    real_labels = check_labels(real_labels, len(real), "real")
    fake_labels = check_labels(fake_labels, len(fake), "generated")
    names = named_labels([real_labels, fake_labels], class_names)
    return {
        name: (
            _members(real, real_labels, label, name, "real"),
            _members(fake, fake_labels, label, name, "generated"),
        )
        for label, name in names.items()
    }


def single_classes(
    features: np.ndarray, labels: np.ndarray, class_names: Sequence[str] | None, what: str
) -> dict[str, tuple[np.ndarray]]:
    """{class name: (features,)}, of at least two samples each."""
    features = distances.check_features(features, what)
    labels = check_labels(labels, len(features), what)
    names = named_labels([labels], class_names)
    return {name: (_members(features, labels, label, name, what),) for label, name in names.items()}


def check_labels(labels: np.ndarray, count: int | None, what: str) -> np.ndarray:
    array = np.asarray(labels)
    wanted = "n" if count is None else count
    if array.ndim != 1 or array.dtype.kind not in "iu" or array.size != (count or array.size or 1):
        raise InputError(
            f"expected {what} labels as integers [{wanted}], got {array.dtype} {list(array.shape)}"
        )
    return array


def named_labels(labels: Sequence[np.ndarray], class_names: Sequence[str] | None) -> dict[int, str]:
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
