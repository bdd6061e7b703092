"""The metric `nearest`: how near generated images come to real ones, in numbers and a picture."""

import numpy as np

from cgt_tf.data.image_set import ImageSet
from cgt_tf.evaluation.neighbours import memorisation, nearest_neighbours, neighbour_picture
from cgt_tf.evaluation.subjects import Subject

_ROWS, _COLUMNS = 12, 4


def nearest_images(
    features: np.ndarray,
    subject: Subject,
    real: ImageSet,
    real_features: np.ndarray,
    heldout: np.ndarray | None = None,
) -> tuple[dict[str, float], np.ndarray]:
    """Are generated images copies?

    Args:
        features: of the subject's images [m, d], in their order.
        subject: the generated images.
        real: images that it may have copied, with their features [n, d].
        heldout: features of other real images [h, d], whose distances are what is usual.

    Returns:
        Numbers by name, and a picture uint8 [H, W, 3] of the generated images that come nearest.
    """
    found = memorisation(real_features, features, heldout)
    scalars = {"nearest": found.median}
    if heldout is not None:
        scalars["nearest_of_heldout"] = found.heldout_median
        scalars["nearer_than_heldout"] = found.probability_nearer
    rows = np.argsort(found.distances, kind="stable")[:_ROWS]
    pairs = nearest_neighbours(real_features, features[rows], min(_COLUMNS, len(real_features)))
    shown, columns = np.unique(pairs.indices, return_inverse=True)
    columns = columns.reshape(pairs.indices.shape)
    picture = neighbour_picture(subject.take(rows), real.images[shown], columns, pairs.distances)
    return scalars, picture
