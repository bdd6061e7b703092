"""A contrastive loss on a discriminator's features, as a term that `Adversarial` takes.

Hyper-Modulation's option: Barlow Twins (Zbontar et al., ICML 2021) without a projector, on the
features of two augmented views (`data.views`), of real and, apart from them, of generated images.
"""

from collections.abc import Callable

import tensorflow as tf

from cgt_tf.data.views import NUM_UNIFORMS, VIEWS, view
from cgt_tf.methods.adversarial import Judged
from cgt_tf.methods.phases import Microbatch

_EPSILON = 1e-5
_REDUNDANCY = 0.005
# Streams of a microbatch's uniform numbers, apart from those of its augmentation; one a view.
_REAL_VIEWS, _FAKE_VIEWS = (11, 12), (13, 14)


def normalise(features: tf.Tensor) -> tf.Tensor:
    """Batch norm without scale and shift, of [B, C]: biased variance, epsilon 1e-5."""
    mean, variance = tf.nn.moments(features, axes=0)
    return (features - mean) * tf.math.rsqrt(variance + _EPSILON)


def barlow_twins(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """sum_i (C_ii - 1)^2 + 0.005 sum_{i != j} C_ij^2, C the correlations of [B, C] over the batch.

    Args:
        first, second: Features of two views, row by row of the same image.
    """
    correlation = tf.matmul(normalise(first), normalise(second), transpose_a=True)
    correlation /= tf.cast(tf.shape(first)[0], first.dtype)
    diagonal = tf.linalg.diag_part(correlation)
    rest = tf.reduce_sum(tf.square(correlation)) - tf.reduce_sum(tf.square(diagonal))
    return tf.reduce_sum(tf.square(diagonal - 1)) + _REDUNDANCY * rest


def discriminator_term(weight: float) -> Callable[[Microbatch, Judged], dict]:
    """The term of D's loss, of weight `weight`; of each replica's own batch.

    Power vectors do not move, and the run's augmentation is not applied: views are augmented.
    """

    def term(p: Microbatch, seen: Judged) -> dict:
        total = 0.0
        for images, streams in ((p.images, _REAL_VIEWS), (seen.generated[0], _FAKE_VIEWS)):
            views = [
                view(images, p.draws.uniforms(stream, NUM_UNIFORMS), kind)
                for stream, kind in zip(streams, VIEWS, strict=True)
            ]
            labels = p.labels if images is p.images else seen.labels
            _, endpoints = p.networks.discriminator(
                tf.concat(views, axis=0), tf.tile(labels, [2]), training=False
            )
            total += barlow_twins(*tf.split(endpoints["features"], 2))
        return {"contrastive": weight * total}

    return term
