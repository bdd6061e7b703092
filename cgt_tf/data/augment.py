"""Augmentations of the images a discriminator sees, differentiable in the images.

After DiffAugment (Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training",
NeurIPS 2020; `DiffAugment_tf.py` of mit-han-lab/data-efficient-gans), with its ranges for images in
[-1, 1]. A policy names groups of operations, applied in its order:

    color        brightness + U(-0.5, 0.5), then saturation * U(0, 2) about the mean of the colours,
                 then contrast * U(0.5, 1.5) about the mean of the image
    translation  by up to 1/8 of each side, rounded to pixels; what enters is 0, which is grey
    cutout       a square of half the side, anywhere it touches the image, is set to 0

Nothing here draws: each operation takes its uniform numbers, one row an image, so that whoever
trains can draw them for the global batch and a replica can take its share.

With a probability (ADA: Karras et al., "Training Generative Adversarial Networks with Limited
Data", NeurIPS 2020) every operation is applied to an image by a coin of its own, as there. Their
recommended pipeline `bgc` is pixel blitting, geometry and colour. Of it, `color` and `translation`
are what is here (their integer translation has the same range; their colour strengths are normal
and log-normal instead of uniform); mirroring, rotation, scaling, hue and luma inversion are not.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

TRANSLATION = 1 / 8
CUTOUT = 1 / 2


def brightness(images: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
    """Adds U(-0.5, 0.5) to each image.

    Args:
        images: float32 [B, H, W, 3] in [-1, 1]; the result may leave the range, here and below.
        uniforms: float32 [B, 1] in [0, 1).
    """
    return images + (_per_image(uniforms) - 0.5)


def saturation(images: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
    """Scales each pixel's distances from the mean of its colours by U(0, 2); see `brightness`."""
    mean = tf.reduce_mean(images, axis=3, keepdims=True)
    return (images - mean) * (2.0 * _per_image(uniforms)) + mean


def contrast(images: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
    """Scales each image's distances from its mean by U(0.5, 1.5); see `brightness`."""
    mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
    return (images - mean) * (_per_image(uniforms) + 0.5) + mean


def translation(images: tf.Tensor, uniforms: tf.Tensor, ratio: float = TRANSLATION) -> tf.Tensor:
    """Shifts each image by whole pixels; what enters is 0.

    Args:
        images: float32 [B, H, W, 3].
        uniforms: float32 [B, 2] in [0, 1): of the vertical and the horizontal shift.
        ratio: Largest shift over the side of the image, in either direction.
    """
    for axis in (1, 2):
        side = images.shape[axis]
        most = int(side * ratio + 0.5)
        shifts = _integers(uniforms[:, axis - 1], 2 * most + 1) - most
        # Indices into the image with one row of zeros in front and one behind.
        sources = tf.clip_by_value(tf.range(side) - shifts[:, None] + 1, 0, side + 1)
        padding = [[0, 0]] * 4
        padding[axis] = [1, 1]
        images = tf.gather(tf.pad(images, padding), sources, axis=axis, batch_dims=1)
    return images


def cutout(images: tf.Tensor, uniforms: tf.Tensor, ratio: float = CUTOUT) -> tf.Tensor:
    """Sets a square of each image to 0; part of the square may lie outside.

    Args:
        images: float32 [B, H, W, 3].
        uniforms: float32 [B, 2] in [0, 1): of the square's vertical and horizontal place.
        ratio: Side of the square over that of the image.
    """
    inside = []
    for axis in (1, 2):
        side = images.shape[axis]
        size = int(side * ratio + 0.5)
        centres = _integers(uniforms[:, axis - 1], side + 1 - size % 2)[:, None]
        first = centres - size // 2
        pixels = tf.range(side)
        inside.append((pixels >= first) & (pixels < first + size))
    rows, columns = inside
    cut = rows[:, :, None, None] & columns[:, None, :, None]
    return tf.where(cut, 0.0, images)


# Operation, and how many uniform numbers it takes for an image.
_OPERATIONS: dict[str, tuple[tuple[Callable, int], ...]] = {
    "color": ((brightness, 1), (saturation, 1), (contrast, 1)),
    "translation": ((translation, 2),),
    "cutout": ((cutout, 2),),
}
# Each operation's first column in the uniform numbers of an image, its coin's included.
_COLUMNS = {brightness: 0, saturation: 2, contrast: 4, translation: 6, cutout: 9}

NUM_UNIFORMS = 12


def augment(
    images: tf.Tensor,
    uniforms: tf.Tensor,
    policy: Sequence[str],
    probability: tf.Tensor | float | None = None,
) -> tf.Tensor:
    """Applies the operations of a policy.

    Args:
        images: float32 [B, H, W, 3] in [-1, 1].
        uniforms: float32 [B, NUM_UNIFORMS] in [0, 1), independent; what one operation does depends
            on its own numbers, whatever the policy.
        policy: Policy of `color`, `translation`, `cutout`.
        probability: Scalar in [0, 1], of each operation for each image; None: always.

    Returns:
        Float32 [B, H, W, 3].
    """
    for group in policy:
        for operation, count in _OPERATIONS[group]:
            first = _COLUMNS[operation]
            changed = operation(images, uniforms[:, first + 1 : first + 1 + count])
            if probability is not None:
                coins = _per_image(uniforms[:, first : first + 1])
                changed = tf.where(coins < probability, changed, images)
            images = changed
    return images


def _per_image(values: tf.Tensor) -> tf.Tensor:
    return values[:, :, None, None]


def _integers(uniforms: tf.Tensor, count: int) -> tf.Tensor:
    """Uniform numbers in [0, 1) -> integers int32 in [0, count)."""
    # Rounding of the product can reach `count` where it is large.
    return tf.minimum(tf.cast(uniforms * count, tf.int32), count - 1)
