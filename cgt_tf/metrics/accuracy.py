"""How often a classifier names generated images by the class that they were generated for."""

from collections.abc import Sequence

import numpy as np

from cgt_tf.errors import InputError
from cgt_tf.metrics.classes import ClassScores, check_labels, named_labels
from cgt_tf.metrics.metric import HIGHER, Comparison, Found, Metric


def classification_accuracy(
    labels: np.ndarray, predictions: np.ndarray, class_names: Sequence[str] | None = None
) -> ClassScores:
    """Share of generated images that a classifier assigns to the class they were generated for.

    Args:
        labels: The classes that were asked for, integers [n].
        predictions: The classifier's, integers [n]; those of other classes count as wrong.
        class_names: As for `intra_class_fid`.

    Returns:
        Values in [0, 1].

    Raises:
        InputError: labels or predictions that do not fit, or a named class without samples.
    """
    labels = check_labels(labels, None, "generated")
    predictions = check_labels(predictions, len(labels), "predicted")
    correct = {}
    for label, name in named_labels([labels], class_names).items():
        members = labels == label
        if not members.any():
            raise InputError(f"expected generated samples of class {name!r}, got none")
        correct[name] = float(np.mean(predictions[members] == label))
    return ClassScores.of(correct)


def _compute(images: Comparison) -> Found:
    """Over all images, and per class."""
    fake = images.fake
    own = {name: label for label, name in enumerate(fake.class_names)}
    table = np.array([own.get(name, -1) for name in images.known_classes], np.int32)
    predictions = table[fake.logits.argmax(axis=1)]
    scores = classification_accuracy(fake.labels, predictions, fake.class_names)
    overall = float(np.mean(predictions == fake.labels))
    return Found({"accuracy": overall}, {"accuracy": scores.per_class})


METRIC = Metric(_compute, better={"accuracy": HIGHER}, needs_classifier=True, unasked=True)
