"""Spectral normalisation as BigGAN has it, and the layers that carry it.

The raw weight stays the variable that is trained, saved and exchanged with other projects; it is
divided by its largest singular value when used (Miyato et al., 2018; `SN` of BigGAN-PyTorch).
Keras' own `SpectralNormalization` overwrites the kernel with the quotient on every training call,
so it can neither hold an imported weight nor differentiate through sigma.

One power step is taken in every call; the vector it yields is stored only when `training` is true.
With several replicas each computes the same step and the first replica's vector is kept.
"""

import keras
from keras import ops

from cgt_tf.layers import resample
from cgt_tf.layers.mixed import MixedLayer


def power_step(matrix, u, eps):
    """One power iteration for the largest singular value.

    Args:
        matrix: float [rest, outputs], a kernel whose last axis is its outputs'.
        u: float [1, outputs], the current singular vector on the side of the outputs.
        eps: Least norm that is divided by, as `torch.nn.functional.normalize` has it.

    Returns:
        `(sigma, u)`: scalar and [1, outputs]. The gradient of sigma goes through `matrix` alone.
    """
    v = _normalize(ops.matmul(ops.stop_gradient(matrix), ops.reshape(u, (-1, 1))), eps)
    product = ops.matmul(ops.reshape(v, (1, -1)), matrix)
    u = ops.stop_gradient(_normalize(product, eps))
    return ops.sum(product * u), u


def _normalize(x, eps):
    return x / ops.maximum(ops.sqrt(ops.sum(ops.square(x))), eps)


class SpectralLayer(MixedLayer):
    """A layer whose weight is divided by its spectral norm when used.

    Args:
        spectral_norm: False uses the weight as it is (a weight folded at load, or a plain layer).
        sn_eps: Epsilon of the power iteration.
        kernel_initializer: Any Keras initializer; BigGAN's is orthogonal.
    """

    def __init__(
        self, *, spectral_norm=True, sn_eps=1e-6, kernel_initializer="orthogonal", **kwargs
    ):
        super().__init__(**kwargs)
        self.spectral_norm = spectral_norm
        self.sn_eps = sn_eps
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    # The axis of the weight whose side of the matrix `u` is on.
    outputs_axis = -1

    def add_kernel(self, shape, name="kernel"):
        self.kernel = self.add_weight(
            name=name, shape=shape, initializer=self.kernel_initializer, trainable=True
        )
        if self.spectral_norm:
            self.u = self.add_weight(
                name="u",
                shape=(1, shape[self.outputs_axis]),
                initializer="random_normal",
                trainable=False,
                aggregation="only_first_replica",
            )

    def normalized_kernel(self, training):
        """The kernel over sigma, in the kernel's shape; moves `u` when `training`."""
        if not self.spectral_norm:
            return self.kernel
        kernel = ops.convert_to_tensor(self.kernel)
        sigma, u = power_step(self._matrix(kernel), ops.convert_to_tensor(self.u), self.sn_eps)
        if training:
            self.u.assign(u)
        return kernel / sigma

    def _matrix(self, kernel):
        if self.outputs_axis == 0:
            return ops.transpose(ops.reshape(kernel, (kernel.shape[0], -1)))
        return ops.reshape(kernel, (-1, kernel.shape[-1]))

    def get_config(self):
        return {
            **super().get_config(),
            "spectral_norm": self.spectral_norm,
            "sn_eps": self.sn_eps,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


class SpectralDense(SpectralLayer):
    """Linear layer, [..., C_in] -> [..., units], kernel [C_in, units]."""

    def __init__(self, units, *, use_bias=True, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.use_bias = use_bias

    def build(self, input_shape):
        self.add_kernel((input_shape[-1], self.units))
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")

    def call(self, x, training=False):
        y = ops.matmul(x, self.normalized_kernel(training))
        return y + self.bias if self.use_bias else y

    def get_config(self):
        return {**super().get_config(), "units": self.units, "use_bias": self.use_bias}


class Held:
    """What a layer computes of its weights, kept where they change seldom or never.

    Neither trained nor saved, which is why a layer holds it in an object that Keras does not look
    into. Until `hold` is called again, changed weights have no effect.

    Attributes:
        value: A variable.
    """

    def __init__(self, value):
        self.value = keras.Variable(
            value, trainable=False, dtype=value.dtype, name="held", autocast=False
        )


class SpectralConv2D(SpectralLayer):
    """Zero-padded convolution, [B, H, W, C_in] -> [B, H', W', filters].

    Args:
        filters: Output channels.
        kernel_size: K, 1 or 3; the kernel is [k, k, C_in, filters].
        resample: None; "up" (a 3x3 kernel after 2x nearest upsampling) or "down" (before a 2x2
            average pool).
        fused: Compute resampling and convolution as one strided convolution; equal up to rounding.
        outputs: How many of the filters are computed, from the first; 0: all. The spectral norm is
            that of all (BigGAN-deep's last layer has more filters than colours).
    """

    def __init__(
        self,
        filters,
        kernel_size=3,
        *,
        use_bias=True,
        resample=None,
        fused=True,
        outputs=0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if resample not in (None, "up", "down"):
            raise ValueError(f"resample must be None, 'up' or 'down', got {resample!r}")
        if resample and kernel_size != 3:
            raise ValueError(f"resampling needs kernel_size 3, got {kernel_size}")
        self.filters = filters
        self.kernel_size = kernel_size
        self.use_bias = use_bias
        self.resample = resample
        self.fused = fused
        self.outputs = outputs
        self._held = None

    def build(self, input_shape):
        self.add_kernel((self.kernel_size, self.kernel_size, input_shape[-1], self.filters))
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")

    def call(self, x, condition=None, training=False):
        del condition  # Layers that modulate their kernels see it, see `layers.class_kernels`.
        kernel = self.held if self._held else self._effective(training)
        y = resample.convolve(self.narrow(x), kernel, self.resample, self.fused)
        if not self.use_bias:
            return y
        return y + self.narrow(self.bias[: self.outputs] if self.outputs else self.bias)

    def hold(self):
        """Keeps what the operation takes as kernel, unless that is the variable; see `Held`."""
        combined = self.resample and self.fused
        mixed = self.compute_dtype != self.variable_dtype
        if not (self.spectral_norm or combined or self.outputs or mixed):
            return
        value = self._effective(False)
        if self._held is None:
            self._held = Held(value)
        self._held.value.assign(value)

    @property
    def held(self):
        """The variable of a held kernel, or None."""
        return None if self._held is None else self._held.value

    def _effective(self, training):
        """The kernel as the operation takes it: normalised, combined, in the compute dtype."""
        kernel = self.normalized_kernel(training)
        if self.outputs:
            kernel = kernel[..., : self.outputs]
        return self.narrow(resample.operand(kernel, self.resample, self.fused))

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "use_bias": self.use_bias,
            "resample": self.resample,
            "fused": self.fused,
            "outputs": self.outputs,
        }


class SpectralEmbedding(SpectralLayer):
    """A table of vectors, [count, dim], looked up by class weights [B, count] -> [B, dim].

    Class weights are one-hot rows for plain labels, or mixtures that sum to one.
    """

    outputs_axis = 0

    def __init__(self, dim, **kwargs):
        super().__init__(**kwargs)
        self.dim = dim

    def build(self, input_shape):
        self.add_kernel((input_shape[-1], self.dim), name="embeddings")

    def call(self, class_weights, training=False):
        return ops.matmul(class_weights, self.normalized_kernel(training))

    def table(self):
        """The vectors as they are looked up, [count, dim]."""
        return ops.convert_to_tensor(self.normalized_kernel(False))

    def get_config(self):
        return {**super().get_config(), "dim": self.dim}
