"""Normalising a batch by its own moments, over all replicas."""

import keras
from keras import ops

from cgt_tf import fused
from cgt_tf.layers.mixed import widen


def normalize(x, epsilon):
    """Normalises each channel of a batch; moments are float32, or float64 if `x` is.

    Args:
        x: float [B, H, W, C]; under a strategy with several replicas, one replica's share.
        epsilon: Added to the variance.

    Returns:
        `(normalised, mean, variance)`: in the dtype and shape of `x`; and both [C], of which the
        variance is the unbiased one, with the replica's own count.
    """
    return (fused.normalize if fused.normalizes(x, epsilon) else synchronized)(x, epsilon)


def synchronized(x, epsilon):
    """`normalize` as a formula, for any number of replicas."""
    wide = widen(x)
    mean = _over_replicas(ops.mean(wide, axis=(0, 1, 2)))
    centred = wide - mean
    variance = _over_replicas(ops.mean(ops.square(centred), axis=(0, 1, 2)))
    count = ops.cast(ops.prod(ops.shape(x)[:3]), wide.dtype)
    unbiased = variance * count / ops.maximum(count - 1, 1)
    return ops.cast(centred * ops.rsqrt(variance + epsilon), x.dtype), mean, unbiased


def _over_replicas(vector):
    """Mean of [C] over the replicas of the running strategy; the vector itself on one device.

    Reducing locally first keeps the synchronised tensor small; replicas have equal batches. Only
    TensorFlow has such replicas: in a JAX program over several devices the batch is one array.
    """
    if keras.backend.backend() != "tensorflow":
        return vector
    return ops.moments(vector[None], axes=0, synchronized=True)[0]
