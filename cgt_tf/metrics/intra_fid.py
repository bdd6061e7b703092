"""FID within each class."""

from collections.abc import Sequence

import numpy as np

from cgt_tf.metrics.classes import ClassScores, paired_classes, scores_of
from cgt_tf.metrics.fid import frechet_distance
from cgt_tf.metrics.metric import LOWER, Comparison, Found, Metric


def intra_class_fid(
    real: np.ndarray,
    real_labels: np.ndarray,
    fake: np.ndarray,
    fake_labels: np.ndarray,
    class_names: Sequence[str] | None = None,
) -> ClassScores:
    """`frechet_distance` of each class's generated images to its real ones, and their mean.

    Args:
        real: Features of the real images [n, d].
        real_labels: Their classes, integers [n].
        fake: Features of the generated images [m, d].
        fake_labels: Their classes, integers [m].
        class_names: Names of the labels 0 to K - 1, all of which are scored. Default: the labels
            that occur in either set, by their numbers.

    Raises:
        InputError: as the metric; labels that do not fit; a class of fewer than two real or
            generated samples, which is named.
    """
    classes = paired_classes(real, real_labels, fake, fake_labels, class_names)
    return scores_of(frechet_distance, classes)


def _compute(images: Comparison) -> Found:
    warning = (
        f"intra_fid: few images a class for {images.fake.features.shape[1]} features: biased; "
        "compare at equal counts only, or use intra_kid"
    )
    scores = intra_class_fid(*images.within_classes())
    return Found({"intra_fid": scores.mean}, {"intra_fid": scores.per_class}, (warning,))


METRIC = Metric(_compute, better={"intra_fid": LOWER})
