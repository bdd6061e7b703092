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


class LazyR1:
    """gamma / 2 * mean |grad_x D(x)|^2 of the real images, every `every`-th update times `every`.

    R1 of Mescheder et al. ("Which Training Methods for GANs do actually Converge?", ICML 2018);
    lazy as in StyleGAN2 (Karras et al., CVPR 2020, appendix B), with the gradient taken through the
    augmentation to the images before it, as in stylegan2-ada-pytorch.

    Args:
        gamma: weight; 0: no penalty.
        every: updates from one penalty to the next.
    """

    def __init__(self, gamma: float, every: int):
        self._weight = gamma / 2.0 * every
        self._every = every

    @property
    def enabled(self) -> bool:
        return self._weight > 0

    def gradients(
        self,
        update: tf.Tensor,
        logits_of: Callable,
        images: tf.Tensor,
        variables: list,
        total_images: float,
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """This replica's and pass's part of the penalty, and its gradients; zeros where not due.

        Args:
            update: int64, number of the discriminator update from 0, the first of which is due.
            logits_of: as for `squared_gradients`; must not assign variables, which a replica cannot
                do in a branch.
            images: real images float32 [b, H, W, 3] of this pass and replica.
            variables: what the gradients are taken of.
            total_images: of the update, over all passes and replicas.
        """

        def due():
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                penalty = squared_gradients(logits_of, images) * (self._weight / total_images)
            zero = tf.UnconnectedGradients.ZERO
            return [penalty, *tape.gradient(penalty, variables, unconnected_gradients=zero)]

        def skipped():
            return [tf.constant(0.0), *(tf.zeros(v.shape, v.dtype) for v in variables)]

        penalty, *gradients = tf.cond(update % self._every == 0, due, skipped)
        return penalty, gradients
