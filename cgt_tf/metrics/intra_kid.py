"""KID within each class."""

from collections.abc import Sequence

import numpy as np

from cgt_tf.metrics.classes import ClassScores, paired_classes, scores_of
from cgt_tf.metrics.kid import kernel_distance
from cgt_tf.metrics.metric import LOWER, Comparison, Found, Metric


def intra_class_kid(
    real: np.ndarray,
    real_labels: np.ndarray,
    fake: np.ndarray,
    fake_labels: np.ndarray,
    class_names: Sequence[str] | None = None,
) -> ClassScores:
    """`kernel_distance` of each class's generated images to its real ones; see `intra_fid`.

    Unbiased, so that classes of different numbers of images are comparable.
    """
    classes = paired_classes(real, real_labels, fake, fake_labels, class_names)
    return scores_of(kernel_distance, classes)


def _compute(images: Comparison) -> Found:
    scores = intra_class_kid(*images.within_classes())
    return Found({"intra_kid": scores.mean}, {"intra_kid": scores.per_class})


METRIC = Metric(_compute, better={"intra_kid": LOWER})
