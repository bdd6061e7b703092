"""FID within each class."""

from collections.abc import Sequence

import numpy as np

from cgt_tf.metrics.classes import ClassScores, paired_classes, scores_of
from cgt_tf.metrics.fid import frechet_distance
from cgt_tf.metrics.metric import LOWER, Metric, of_classes


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
    classes = paired_classes(real, real_labels, fake, fake_labels, class_names)
    return scores_of(frechet_distance, classes)


METRIC = Metric(of_classes("intra_fid", intra_class_fid), better={"intra_fid": LOWER})
