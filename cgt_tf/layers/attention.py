"""Self-attention of SAGAN as BigGAN uses it (Zhang et al., 2019; Brock et al., 2019)."""

import functools

from keras import ops

from cgt_tf.errors import InputError
from cgt_tf.layers.mixed import MixedLayer, widen
from cgt_tf.layers.spectral import SpectralConv2D

# What a factory may set in the convolutions, as `get_config` keeps it.
_CONV_OPTIONS = ("spectral_norm", "sn_eps", "kernel_initializer", "dtype")


class SelfAttention(MixedLayer):
    """Non-local block, [B, H, W, C] -> [B, H, W, C]; the identity at initialisation.

    Queries have C // 8 channels; keys (C // 8) and values (C // 2) are 2x2 max pooled; logits are
    not scaled; no convolution has a bias. The residual weight is one scalar that starts at 0.

    Args:
        channels: C, at least 8.
        conv: Factory of 1x1 convolutions, called as `conv(filters, kernel_size, use_bias, name)`.

    Raises:
        InputError: fewer than 8 channels, which leaves none for queries and keys.
    """

    def __init__(self, channels, *, conv=SpectralConv2D, **kwargs):
        super().__init__(**kwargs)
        if channels < 8:
            raise InputError(f"self-attention needs at least 8 channels, got {channels}")
        self.channels = channels
        self.theta = conv(channels // 8, kernel_size=1, use_bias=False, name="theta")
        self.phi = conv(channels // 8, kernel_size=1, use_bias=False, name="phi")
        self.g = conv(channels // 2, kernel_size=1, use_bias=False, name="g")
        self.o = conv(channels, kernel_size=1, use_bias=False, name="o")

    def build(self, input_shape):
        self.gain = self.add_weight(name="gain", shape=(), initializer="zeros")
        for layer in (self.theta, self.phi, self.g):
            layer.build(input_shape)
        self.o.build((*input_shape[:-1], self.channels // 2))

    def call(self, x, training=False):
        _, height, width, channels = x.shape
        theta = ops.reshape(self.theta(x, training=training), (-1, height * width, channels // 8))
        phi = self._pooled(self.phi(x, training=training))
        g = self._pooled(self.g(x, training=training))
        logits = widen(ops.matmul(theta, ops.transpose(phi, (0, 2, 1))))
        weights = self.narrow(ops.softmax(logits, axis=-1))
        mixed = ops.reshape(ops.matmul(weights, g), (-1, height, width, channels // 2))
        return self.narrow(x) + self.narrow(self.gain) * self.o(mixed, training=training)

    @staticmethod
    def _pooled(x):
        pooled = ops.max_pool(x, 2, strides=2, padding="valid")
        return ops.reshape(pooled, (-1, pooled.shape[1] * pooled.shape[2], pooled.shape[3]))

    def get_config(self):
        convolution = self.theta.get_config()
        options = {name: convolution[name] for name in _CONV_OPTIONS}
        return {**super().get_config(), "channels": self.channels, "conv": options}

    @classmethod
    def from_config(cls, config):
        conv = functools.partial(SpectralConv2D, **config["conv"])
        return cls(**{**config, "conv": conv})
