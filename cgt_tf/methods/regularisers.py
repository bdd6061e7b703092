"""R1, the gradient penalty of real images, computed now and then."""

from collections.abc import Callable

import tensorflow as tf


def squared_gradients(logits_of: Callable, images: tf.Tensor) -> tf.Tensor:
    """Sum over the batch of |grad_x D(x)|^2.

    Args:
        logits_of: float32 [B, H, W, 3] -> logits [B], each of its own image alone.
        images: float32 [B, H, W, 3].
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(images)
        total = tf.reduce_sum(logits_of(images))
    return tf.reduce_sum(tf.square(tape.gradient(total, images)))


def lazy_r1(
    logits_of: Callable, images: tf.Tensor, update: tf.Tensor, gamma: float, every: int
) -> tf.Tensor:
    """gamma / 2 * mean |grad_x D(x)|^2 of real images, every `every`-th update times `every`.

    R1 of Mescheder et al. ("Which Training Methods for GANs do actually Converge?", ICML 2018);
    lazy as in StyleGAN2 (Karras et al., CVPR 2020, appendix B), with the gradient taken through the
    augmentation to the images before it, as in stylegan2-ada-pytorch.

    Args:
        logits_of: As for `squared_gradients`; must not assign variables, which a replica cannot
            do in a branch.
        images: Real images float32 [b, H, W, 3].
        update: int64, number of the discriminator's update from 0, the first of which is due.
        gamma: Weight.
        every: Updates from one penalty to the next; 0 is returned for the others.
    """

    def due():
        count = tf.cast(tf.shape(images)[0], tf.float32)
        return squared_gradients(logits_of, images) * (gamma / 2.0 * every) / count

    return tf.cond(update % every == 0, due, lambda: tf.constant(0.0))
