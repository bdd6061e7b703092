"""Two augmented views of the same images, as losses that compare features want them.

After the recipe of Barlow Twins (Zbontar et al., ICML 2021) and the code of Hyper-Modulation:
resized crop, flip, colour jitter (0.4, 0.4, 0.2) with probability 0.8, grey with 0.2, blur of 3x3
pixels (sigma 1.05) with 0.5 in the first view and 0.1 in the second, solarising with 0 and 0.2.
Crops are resampled bilinearly (theirs: bicubic), the jitter is that of `augment` in its order, with
these strengths, and has no hue.

Like `augment`, nothing here draws: uniform numbers come in, one row an image.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from cgt_tf.data.augment import brightness, contrast, saturation

NUM_UNIFORMS = 12
# Share of the image's area that a crop has, and the logarithm of its width over its height.
_AREA = (0.08, 1.0)
_LOG_RATIO = (math.log(3 / 4), math.log(4 / 3))
_JITTER, _GREY = 0.8, 0.2
# Strength of each operation over the one that `augment` gives it.
_STRENGTHS = ((brightness, 0.8), (saturation, 0.2), (contrast, 0.8))
_SIGMA = 1.05


class View(NamedTuple):
    """What differs between the two views: probabilities."""

    blur: float
    solarise: float


VIEWS = (View(0.5, 0.0), View(0.1, 0.2))


def view(images: tf.Tensor, uniforms: tf.Tensor, kind: View) -> tf.Tensor:
    """One view.

    Args:
        images: float32 [B, R, R, 3] in [-1, 1].
        uniforms: float32 [B, NUM_UNIFORMS] in [0, 1), independent.
        kind: Kind of `VIEWS`.

    Returns:
        Float32 [B, R, R, 3] in [-1, 1].
    """
    columns = tf.split(uniforms, NUM_UNIFORMS, axis=1)
    images = resized_crop(images, uniforms[:, :4])
    images = _with(columns[4], 0.5, images[:, :, ::-1], images)
    jittered = images
    for (operation, strength), column in zip(_STRENGTHS, columns[5:8], strict=True):
        jittered = operation(jittered, 0.5 + strength * (column - 0.5))
    images = tf.clip_by_value(_with(columns[8], _JITTER, jittered, images), -1.0, 1.0)
    images = _with(columns[9], _GREY, grey(images), images)
    images = _with(columns[10], kind.blur, blur(images), images)
    return _with(columns[11], kind.solarise, solarise(images), images)


def resized_crop(images: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
    """A random part of each image, at the size of the image.

    Args:
        images: float32 [B, H, W, 3].
        uniforms: float32 [B, 4] in [0, 1): of area, ratio of the sides, and place.
    """
    area = _between(_AREA, uniforms[:, 0])
    ratio = tf.exp(_between(_LOG_RATIO, uniforms[:, 1]))
    height = tf.minimum(tf.sqrt(area / ratio), 1.0)
    width = tf.minimum(tf.sqrt(area * ratio), 1.0)
    top, left = uniforms[:, 2] * (1 - height), uniforms[:, 3] * (1 - width)
    boxes = tf.stack([top, left, top + height, left + width], axis=1)
    return tf.image.crop_and_resize(images, boxes, tf.range(tf.shape(images)[0]), images.shape[1:3])


def grey(images: tf.Tensor) -> tf.Tensor:
    """Luma (ITU-R 601) in all channels."""
    luma = tf.tensordot(images, tf.constant([[0.299], [0.587], [0.114]]), axes=1)
    return tf.repeat(luma, 3, axis=3)


def blur(images: tf.Tensor) -> tf.Tensor:
    """Gaussian blur of 3x3 pixels, with the border mirrored."""
    side = math.exp(-1 / (2 * _SIGMA**2))
    for axis in (1, 2):
        padding = [[0, 0]] * 4
        padding[axis] = [1, 1]
        before, middle, after = (
            tf.gather(
                tf.pad(images, padding, "REFLECT"), i + tf.range(images.shape[axis]), axis=axis
            )
            for i in range(3)
        )
        images = (side * before + middle + side * after) / (1 + 2 * side)
    return images


def solarise(images: tf.Tensor) -> tf.Tensor:
    """Negates what is brighter than the middle, which is 0."""
    return tf.where(images >= 0, -images, images)


def _with(uniforms, probability: float, changed, images):
    return tf.where(uniforms[:, :, None, None] < probability, changed, images)


def _between(limits, uniforms):
    low, high = limits
    return low + (high - low) * uniforms
