"""The picture of the metric `nearest`: generated images beside the nearest real ones."""

import numpy as np
from PIL import Image

from cgt_tf.data.image_set import ImageSet
from cgt_tf.metrics.neighbours import nearest_neighbours
from cgt_tf.pictures import captioned_grid
from cgt_tf.scoring.samples import Samples

_ROWS, _COLUMNS = 12, 4
_LEAST_PIXELS = 64  # Smaller images are enlarged.


def nearest_picture(
    samples: Samples,
    features: np.ndarray,
    distances: np.ndarray,
    real: ImageSet,
    real_features: np.ndarray,
) -> Image.Image:
    """Generated images that come nearest to real ones, each before its nearest real images.

    Args:
        samples: The generated images.
        features: Their features [m, d], in their order.
        distances: Distance of each to the nearest real image, [m].
        real: Images that may have been copied, with their features [n, d].

    Returns:
        A row for each of the nearest generated images, its class below it, then real images with
        their distances and classes, nearest first.
    """
    rows = np.argsort(distances, kind="stable")[:_ROWS]
    pairs = nearest_neighbours(real_features, features[rows], min(_COLUMNS, len(real_features)))
    generated = samples.take(rows)
    images, captions = [], []
    for row, image, indices, values in zip(rows, generated, *pairs[::-1], strict=True):
        images += [image, *real.images[indices]]
        captions.append(f"generated {samples.class_names[samples.labels[row]]}")
        names = [real.class_names[real.labels[index]] for index in indices]
        captions += [f"{value:.3g} {name}" for value, name in zip(values, names, strict=True)]
    scale = max(1, -(-_LEAST_PIXELS // generated.shape[2]))
    return captioned_grid(np.stack(images), captions, 1 + pairs.indices.shape[1], scale=scale)
