"""How far a discriminator's feature maps are from those of a frozen one.

Functions of tensors work in the type of what they are given, float32 or float64.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from keras import ops

from cgt_tf.errors import InputError
from cgt_tf.networks.weights import variable_name

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
        spec: The `GanSpec`.
        logit: Whether the unconditional part of the logit is one too.
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
        discriminator: Frozen.
        images: float32 [n, R, R, 3] in [-1, 1].
        names: Names of the endpoints.
    """
    parts = []
    for start in range(0, len(images), _BATCH):
        found = trunk_features(discriminator, images[start : start + _BATCH], names)
        parts.append([ops.convert_to_numpy(x) for x in found])
    values = [np.concatenate(level).var(dtype=np.float64) for level in zip(*parts, strict=True)]
    # A level that is constant tells nothing, and must not divide by 0.
    return np.maximum(values, 1e-12).astype(np.float32)


def drift(source, target, images: np.ndarray) -> tuple[float, float]:
    """Relative L2 distances of a discriminator's trained weights and of its features.

    Both are 0 for a copy. Class tables do not count; distances of features are means over blocks.

    Args:
        source, target: Discriminators of one shape, but for their classes.
        images: float32 [n, R, R, 3] in [-1, 1].

    Raises:
        InputError: weights of different names or shapes.
    """
    theirs, ours = _trunk_weights(source), _trunk_weights(target)
    if {k: v.shape for k, v in theirs.items()} != {k: v.shape for k, v in ours.items()}:
        raise InputError("expected a discriminator of the source's shape, got another one")
    moved = sum(np.sum((ours[name] - value) ** 2) for name, value in theirs.items())
    size = sum(np.sum(value**2) for value in theirs.values())
    levels = level_names(source.spec)
    pairs = zip(*(trunk_features(d, images, levels) for d in (source, target)), strict=True)
    features = [np.linalg.norm(b - a) / np.linalg.norm(a) for a, b in pairs]
    return float(np.sqrt(moved / size)), float(np.mean(features))


def _trunk_weights(discriminator) -> dict[str, np.ndarray]:
    values = {variable_name(v): v for v in discriminator.trainable_variables}
    return {
        name: ops.convert_to_numpy(value)
        for name, value in values.items()
        if not name.startswith("class_projection/")
    }
