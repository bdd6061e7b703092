"""Untrained classifiers whose features score generated images; see `classifier`."""

import math
from collections.abc import Callable

import keras

from cgt_tf.errors import InputError

SMALL, RESIDUAL = "small", "residual"
# Filters and strides of convolutions, at 32 pixels; a larger image is halved by more of the first.
_SMALL = ((24, 2), (48, 2), (96, 1), (96, 2))
# Each stage but the first ends in a residual block of two convolutions.
_RESIDUAL = ((32, 1), (64, 2), (128, 2), (160, 2))
_RESIDUAL_FROM = 2
_FEATURES = {SMALL: 64, RESIDUAL: 128}


def build_classifier(resolution: int, num_classes: int, network: str = SMALL) -> keras.Model:
    """Untrained classifier: float32 [B, R, R, 3] in [-1, 1] -> logits float32 [B, K].

    The layer `features` gives float32 [B, d], the layer `logits` the output. The features are few
    and linear, so that a Gaussian fits them and few samples estimate its covariance.

    Args:
        resolution: R, in pixels.
        num_classes: K.
        network: `small` (four convolutions, d = 64, 0.24 million parameters at K = 100), for
            letters and other plain shapes; or `residual` (eight convolutions, two residual blocks,
            d = 128, 1.1 million), for photographs.

    Raises:
        InputError: another network.
    """
    if network not in _BODIES:
        raise InputError(f"expected a network out of {list(_BODIES)}, got {network!r}")
    layers = keras.layers
    images = keras.Input((resolution, resolution, 3), name="images")
    halvings = max(math.ceil(math.log2(resolution / 32)), 0)
    hidden = _BODIES[network](images, halvings)
    features = layers.Dense(_FEATURES[network], name="features")(hidden)
    logits = layers.Dense(num_classes, name="logits")(features)
    return keras.Model(images, logits, name="classifier")


def _small(images, halvings: int):
    hidden = images
    for block, (filters, strides) in enumerate(((24, 2),) * halvings + _SMALL):
        hidden = _convolution(hidden, filters, strides, str(block))
    return keras.layers.Flatten(name="flatten")(hidden)


def _residual(images, halvings: int):
    hidden = images
    for block, (filters, strides) in enumerate(((32, 2),) * halvings + _RESIDUAL):
        hidden = _convolution(hidden, filters, strides, str(block))
        if block >= halvings + _RESIDUAL_FROM:
            inner = _convolution(hidden, filters, 1, f"{block}a")
            hidden = keras.layers.Add(name=f"add{block}")(
                [hidden, _convolution(inner, filters, 1, f"{block}b")]
            )
    return keras.layers.GlobalAveragePooling2D(name="pool")(hidden)


def _convolution(hidden, filters: int, strides: int, name: str):
    layers = keras.layers
    hidden = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False, name=f"conv{name}")(
        hidden
    )
    hidden = layers.BatchNormalization(name=f"norm{name}")(hidden)
    return layers.ReLU(name=f"relu{name}")(hidden)


_BODIES: dict[str, Callable] = {SMALL: _small, RESIDUAL: _residual}
NETWORKS = tuple(_BODIES)
