"""3x3 convolutions whose kernels are a source's, modulated for each class; see `modulation`.

`HyperConv2D` (as published) and `HyperLowRankConv2D` (ours) are trained: linear heads make their
modulation from a task vector. `ClassFactorConv2D` holds what the second of them makes of each class
in tables; `class_kernels.ClassKernelConv2D` holds the kernels that either makes.
"""

import keras
from keras import ops

from cgt_tf.layers import resample
from cgt_tf.layers.class_kernels import convolve_each
from cgt_tf.layers.equalised import EqualisedDense, equalised
from cgt_tf.layers.mixed import MixedLayer
from cgt_tf.layers.modulation import (
    TAPS,
    Factors,
    full_kernels,
    low_rank_convolve,
    low_rank_kernels,
    split_full,
    standardise,
    standardise_bias,
)


class ModulatedConv2D(MixedLayer):
    """Base: what all layers here have.

    Args:
        filters: Output channels.
        resample: None, or "up": after 2x nearest upsampling.
    """

    def __init__(self, filters, *, resample=None, **kwargs):
        super().__init__(**kwargs)
        if resample not in (None, "up"):
            raise ValueError(f"resample must be None or 'up', got {resample!r}")
        self.filters = filters
        self.resample = resample

    def add_constant(self, name, shape):
        """A weight that is the source's; it stays as it is because no method trains it."""
        return self.add_weight(name=name, shape=shape, initializer="zeros")

    def build(self, input_shape):
        self.channels = input_shape[-1]
        self.standardised = self.add_constant("standardised", (3, 3, self.channels, self.filters))

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "resample": self.resample}


class HyperConv2D(ModulatedConv2D):
    """Full heads: gamma, beta and an offset of the bias from t, all linear.

    Args:
        width: T, of the task vectors, which it is called with as `Condition.kernels`.
        identity: Whether the heads start so that the layer is the source's for every t (weights 0,
            biases gamma = s / k and beta = mu / k); else N(0, 1) and 0, as published.
    """

    def __init__(self, filters, *, width, identity=False, **kwargs):
        super().__init__(filters, **kwargs)
        self.width = width
        self.identity = identity

    def build(self, input_shape):
        super().build(input_shape)
        self.bias = self.add_constant("bias", (self.filters,))
        self.kernel_head = _head(2 * self.filters * self.channels, "kernel_head", self.identity)
        self.bias_head = _head(self.filters, "bias_head", self.identity)
        for head in (self.kernel_head, self.bias_head):
            head.build((None, self.width))

    def start_from(self, kernel, bias, standardised_bias=False):
        """Takes over a source's kernel and bias; `standardised_bias` puts b~ in the bias' place."""
        standardised, mean, deviation = standardise(kernel)
        self.standardised.assign(standardised)
        _start_bias(self, bias, standardised_bias)
        if self.identity:
            both = ops.stack([deviation, mean], axis=-1) / equalised(TAPS * self.channels)
            self.kernel_head.bias.assign(ops.reshape(ops.transpose(both, (1, 0, 2)), (-1,)))

    def fold(self, t):
        """`(kernels [B, 3, 3, C_in, C_out], biases [B, C_out])` of task vectors [B, T]."""
        gamma, beta = split_full(self.kernel_head(t), self.channels)
        return full_kernels(self.standardised, gamma, beta), self.bias + self.bias_head(t)

    def call(self, x, condition, training=False):
        del training
        kernels, bias = self.fold(condition.kernels)
        x = resample.upsample_nearest(x) if self.resample == "up" else x
        y = convolve_each(self.narrow(x), self.narrow(kernels))
        return y + self.narrow(bias)[:, None, None]

    def get_config(self):
        return {**super().get_config(), "width": self.width, "identity": self.identity}


class LowRankConv2D(ModulatedConv2D):
    """Base of the layers of low rank; they say where the factors come from.

    Args:
        rank: R, at least 1.
    """

    def __init__(self, filters, *, rank, **kwargs):
        super().__init__(filters, **kwargs)
        self.rank = rank

    def build(self, input_shape):
        super().build(input_shape)
        self.mean = self.add_constant("mean", (self.channels, self.filters))
        self.deviation = self.add_constant("deviation", (self.channels, self.filters))

    def factors(self, given) -> Factors:
        """Of each sample, from `Condition.kernels`, or the class weights where that is None."""
        raise NotImplementedError(f"{type(self).__name__} must define factors")

    def kernels(self, factors: Factors):
        """The kernels that factors stand for, [B, 3, 3, C_in, C_out]."""
        return low_rank_kernels(self.standardised, self.mean, self.deviation, factors)

    def call(self, x, condition, training=False):
        del training
        given = condition.classes if condition.kernels is None else condition.kernels
        factors = Factors(*map(self.narrow, self.factors(given)))
        # Multiplied out before they are narrowed, so that the identity is the source's kernel.
        kernel = self.narrow(self.deviation * self.standardised + self.mean)
        y = low_rank_convolve(
            self.narrow(x), self.narrow(self.standardised), kernel, factors, self.resample == "up"
        )
        return y + factors.bias[:, None, None]

    def get_config(self):
        return {**super().get_config(), "rank": self.rank}


class HyperLowRankConv2D(LowRankConv2D):
    """Heads of low rank: the factors and an offset of the bias from t, all linear.

    Args:
        width, identity: See `HyperConv2D`. With the identity start a, c and the bias' offset are 0
            and b and d are not, so that the gradient reaches a and c from the first step.
    """

    def __init__(self, filters, *, width, identity=True, **kwargs):
        super().__init__(filters, **kwargs)
        self.width = width
        self.identity = identity

    def build(self, input_shape):
        super().build(input_shape)
        self.bias = self.add_constant("bias", (self.filters,))
        out, into = self.rank * self.filters, self.rank * self.channels
        self.a_head = _head(out, "a_head", self.identity)
        self.b_head = _head(into, "b_head")
        self.c_head = _head(out, "c_head", self.identity)
        self.d_head = _head(into, "d_head")
        self.bias_head = _head(self.filters, "bias_head", self.identity)
        for head in (self.a_head, self.b_head, self.c_head, self.d_head, self.bias_head):
            head.build((None, self.width))

    def start_from(self, kernel, bias, standardised_bias=False):
        """As `HyperConv2D.start_from`."""
        for variable, value in zip(
            (self.standardised, self.mean, self.deviation), standardise(kernel), strict=True
        ):
            variable.assign(value)
        _start_bias(self, bias, standardised_bias)

    def factors(self, given) -> Factors:
        heads = (self.a_head, self.b_head, self.c_head, self.d_head)
        parts = [
            ops.reshape(head(given), (-1, self.rank, head.units // self.rank)) for head in heads
        ]
        return Factors(*parts, self.bias + self.bias_head(given))

    def fold(self, t):
        """As `HyperConv2D.fold`."""
        factors = self.factors(t)
        return self.kernels(factors), factors.bias

    def get_config(self):
        return {**super().get_config(), "width": self.width, "identity": self.identity}


class ClassFactorConv2D(LowRankConv2D):
    """Factors of each class in tables, what `HyperLowRankConv2D` is exported as.

    Args:
        num_classes: K; the tables are a, c [K, r, filters], b, d [K, r, C_in] and bias
            [K, filters], looked up by one-hot rows.
    """

    def __init__(self, num_classes, filters, **kwargs):
        super().__init__(filters, **kwargs)
        self.num_classes = num_classes

    def build(self, input_shape):
        super().build(input_shape)
        for name in Factors._fields:
            channels = self.channels if name in "bd" else self.filters
            shape = (self.num_classes, *([] if name == "bias" else [self.rank]), channels)
            setattr(self, name, self.add_constant(name, shape))

    def factors(self, given) -> Factors:
        tables = [getattr(self, name) for name in Factors._fields]
        return Factors(*(ops.tensordot(given, table, axes=1) for table in tables))

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes}


def _head(units, name, zero=False):
    initializer = "zeros" if zero else keras.initializers.RandomNormal(stddev=1.0)
    return EqualisedDense(units, kernel_initializer=initializer, name=name)


def _start_bias(layer, bias, standardised_bias: bool):
    """Sets the constant part, and with the identity start the head's, so that the sum is `bias`."""
    constant = standardise_bias(bias) if standardised_bias else ops.convert_to_tensor(bias)
    layer.bias.assign(constant)
    if layer.identity:
        layer.bias_head.bias.assign(bias - constant)
