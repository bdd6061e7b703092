"""The picture of the metric `nearest`: generated images beside the nearest real ones."""

import numpy as np
from PIL import Image

from cgt_tf.data.image_set import ImageSet
from cgt_tf.metrics.neighbours import nearest_neighbours
from cgt_tf.pictures import captioned_grid, framed
from cgt_tf.scoring.samples import Samples

_ROWS, _COLUMNS = 12, 4
_LEAST_PIXELS = 96  # Smaller images are enlarged, so that class names fit below them.
_HEADINGS = ("generated", "nearest", "2nd nearest", "3rd nearest", "4th nearest")


def nearest_picture(
    samples: Samples,
    features: np.ndarray,
    distances: np.ndarray,
    real: ImageSet,
    real_features: np.ndarray,
    kind: str = "real",
) -> Image.Image:
    """Generated images that come nearest to real ones, each before its nearest real images.

    Args:
        samples: The generated images.
        features: Their features [m, d], in their order.
        distances: Distance of each to the nearest real image, [m].
        real: Images that may have been copied, with their features [n, d].
        kind: What they are, for the title: "training", or "real".

    Returns:
        A row for each of the nearest generated images, its class at the left, then real images
        with their distances and classes below them, nearest first; with a title and headings.
    """
    rows = np.argsort(distances, kind="stable")[:_ROWS]
    pairs = nearest_neighbours(real_features, features[rows], min(_COLUMNS, len(real_features)))
    generated = samples.take(rows)
    images, captions = [], []
    for image, indices, values in zip(generated, *pairs[::-1], strict=True):
        images += [image, *real.images[indices]]
        names = [real.class_names[real.labels[index]] for index in indices]
        numbered = zip(values, names, strict=True)
        captions += ["", *(f"{value:.3g}\n{name}" for value, name in numbered)]
    scale = max(1, -(-_LEAST_PIXELS // generated.shape[2]))
    columns = 1 + pairs.indices.shape[1]
    title = (
        f"The {len(rows)} of {len(distances)} generated images that are nearest to {kind} images, "
        f"and the nearest of {len(real_features)} {kind} images with their distances between "
        "features"
    )
    return framed(
        captioned_grid(np.stack(images), captions, columns, scale=scale),
        title,
        [samples.class_names[samples.labels[row]] for row in rows],
        _HEADINGS[:columns],
    )
