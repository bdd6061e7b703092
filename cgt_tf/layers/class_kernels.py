"""A convolution with a kernel of its own for each class, as modulated kernels fold into."""

import itertools

from keras import ops

from cgt_tf.layers import resample
from cgt_tf.layers.mixed import MixedLayer


def convolve_each(x, kernels):
    """Zero-padded 3x3 convolution of each sample with a kernel of its own.

    Args:
        x: [B, H, W, C_in].
        kernels: [B, 3, 3, C_in, C_out].
    """
    _, height, width, channels = x.shape
    padded = ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    # Products of matrices, as grouped convolutions have no gradient on CPUs; nine small ones, as
    # the gradient of image patches is slow there.
    total = 0.0
    for i, j in itertools.product(range(3), range(3)):
        part = padded[:, i : i + height, j : j + width]
        part = ops.reshape(part, (-1, height * width, channels))
        total = total + ops.matmul(part, kernels[:, i, j])
    return ops.reshape(total, (-1, height, width, kernels.shape[-1]))


class ClassKernelConv2D(MixedLayer):
    """Zero-padded 3x3 convolution, [B, H, W, C_in] -> [B, H', W', filters].

    Each sample meets the mean of the classes' kernels under its class weights, a class' own kernel
    for one-hot weights.

    Args:
        num_classes: K; the kernel is [K, 3, 3, C_in, filters], the bias [K, filters].
        filters: Output channels.
        resample: None, or "up": after 2x nearest upsampling.
    """

    def __init__(self, num_classes, filters, *, resample=None, **kwargs):
        super().__init__(**kwargs)
        if resample not in (None, "up"):
            raise ValueError(f"resample must be None or 'up', got {resample!r}")
        self.num_classes = num_classes
        self.filters = filters
        self.resample = resample

    def build(self, input_shape):
        shape = (self.num_classes, 3, 3, input_shape[-1], self.filters)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="zeros")
        shape = (self.num_classes, self.filters)
        self.bias = self.add_weight(name="bias", shape=shape, initializer="zeros")

    def call(self, x, condition, training=False):
        del training
        weights = condition.classes if condition.kernels is None else condition.kernels
        if self.resample == "up":
            x = resample.upsample_nearest(x)
        kernels = ops.matmul(weights, ops.reshape(self.kernel, (self.num_classes, -1)))
        kernels = ops.reshape(kernels, (-1, *self.kernel.shape[1:]))
        y = convolve_each(self.narrow(x), self.narrow(kernels))
        return y + self.narrow(ops.matmul(weights, self.bias))[:, None, None, :]

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "filters": self.filters,
            "resample": self.resample,
        }
