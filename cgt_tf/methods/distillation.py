"""How far a discriminator's feature maps are from those of a frozen one.

Functions of tensors work in the type of what they are given, float32 or float64.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from keras import ops

_BATCH = 100


def level_distance(source, target, variance):
    """Mean of (source - target)^2 / variance over all elements of two maps [B, ...], a scalar.

    It is 0 for equal maps, and 1 where they differ by as much as the source's features vary.
    """
    return tf.reduce_mean(tf.math.squared_difference(source, target)) / tf.cast(
        variance, source.dtype
    )


def distillation(source: Sequence, target: Sequence, variances: Sequence):
    """Mean over the levels of `level_distance`, a scalar; the source's maps are constants."""
    terms = [
        level_distance(tf.stop_gradient(theirs), ours, variance)
        for theirs, ours, variance in zip(source, target, variances, strict=True)
    ]
    return tf.add_n(terms) / len(terms)


def level_names(spec, logit: bool = False) -> list[str]:
    """Names of a discriminator's endpoints that do not depend on labels: its blocks' outputs.

    Args:
        spec: the `GanSpec`.
        logit: whether the unconditional part of the logit is one too.
    """
    names = [f"block_{i}" for i in range(len(spec.d_widths))]
    return [*names, "unconditional"] if logit else names


def trunk_features(discriminator, images, names: Sequence[str]) -> list:
    """Endpoints of images float32 [B, R, R, 3], evaluated as frozen: power vectors stay."""
    labels = ops.zeros((ops.shape(images)[0],), "int32")
    endpoints = discriminator(images, labels, training=False)[1]
    return [endpoints[name] for name in names]


def feature_variances(discriminator, images: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Population variance of all elements of each endpoint, float32 [levels].

    Args:
        discriminator: frozen.
        images: float32 [n, R, R, 3] in [-1, 1].
        names: of the endpoints.
    """
    parts = []
    for start in range(0, len(images), _BATCH):
        found = trunk_features(discriminator, images[start : start + _BATCH], names)
        parts.append([ops.convert_to_numpy(x) for x in found])
    values = [np.concatenate(level).var(dtype=np.float64) for level in zip(*parts, strict=True)]
    # A level that is constant tells nothing, and must not divide by 0.
    return np.maximum(values, 1e-12).astype(np.float32)
