"""Linear layers of one matrix a class, each divided by its own spectral norm."""

from keras import ops

from cgt_tf.layers.mixed import MixedLayer


class ClassDense(MixedLayer):
    """x W_y + b_y for the class y of each sample, [B, C_in] -> [B, units].

    Each class' matrix is divided by its own largest singular value, as `layers.spectral` does it:
    one power step in every call, whose vectors are stored in training only.

    Args:
        num_classes: K; the kernel is [K, C_in, units], the bias [K, units].
        units: Width of the output.
        spectral_norm: False uses the matrices as they are.
        sn_eps: Epsilon of the power iteration.
    """

    def __init__(self, num_classes, units, *, spectral_norm=True, sn_eps=1e-6, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.units = units
        self.spectral_norm = spectral_norm
        self.sn_eps = sn_eps

    def build(self, x_shape):
        shape = (self.num_classes, x_shape[-1], self.units)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer="zeros")
        shape = (self.num_classes, self.units)
        self.bias = self.add_weight(name="bias", shape=shape, initializer="zeros")
        if self.spectral_norm:
            self.u = self.add_weight(
                name="u",
                shape=(self.num_classes, 1, self.units),
                initializer="random_normal",
                trainable=False,
                aggregation="only_first_replica",
            )

    def normalized_kernel(self, training=False):
        """The matrices over their norms, [K, C_in, units]; moves `u` when `training`."""
        kernel = ops.convert_to_tensor(self.kernel)
        if not self.spectral_norm:
            return kernel
        # The gradient of sigma goes through the matrices alone.
        frozen = ops.stop_gradient(kernel)
        v = self._normalize(ops.matmul(self.u, ops.transpose(frozen, (0, 2, 1))))
        u = self._normalize(ops.matmul(v, frozen))
        sigma = ops.sum(ops.matmul(v, kernel) * u, axis=(1, 2), keepdims=True)
        if training:
            self.u.assign(u)
        return kernel / sigma

    def _normalize(self, x):
        norm = ops.sqrt(ops.sum(ops.square(x), axis=(1, 2), keepdims=True))
        return x / ops.maximum(norm, self.sn_eps)

    def call(self, x, weights, training=False):
        """Class weights float [B, K]; one-hot rows pick a class."""
        return affine(x, weights, self.normalized_kernel(training), self.bias)

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "units": self.units,
            "spectral_norm": self.spectral_norm,
            "sn_eps": self.sn_eps,
        }


def affine(x, weights, kernel, bias):
    """x [B, d] through each sample's own map; kernel [K, d, e], bias [K, e] -> [B, e]."""
    matrices = ops.reshape(
        ops.matmul(weights, ops.reshape(kernel, (kernel.shape[0], -1))), (-1, *kernel.shape[1:])
    )
    return ops.matmul(x[:, None, :], matrices)[:, 0] + ops.matmul(weights, bias)
