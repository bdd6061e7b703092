"""A map of z and class vector for each label, before a generator: what affine miners fold into."""

import keras
from keras import ops

from cgt_tf.networks.conditioning import ClassInput
from cgt_tf.networks.spec import GanSpec


class AffineMiner(keras.layers.Layer):
    """z' = z A_y + a_y and a class vector z C_y + c_y, one map for each label y.

    The class vector takes the place of the source's class embedding; of sources without one, it is
    weights of the rows of their class tables.

    Args:
        spec: of the generator; K = `num_classes` labels.

    Call arguments:
        z: float32 [B, dim_z].
        weights: of the labels, float32 [B, K]; one-hot rows.

    Returns:
        `(z' [B, dim_z], ClassInput)`.
    """

    def __init__(self, spec: GanSpec, **kwargs):
        super().__init__(**kwargs)
        self.spec = spec
        self._embeds = bool(spec.shared_dim) and not spec.domain_classes

    def build(self, z_shape):
        labels, dim = self.spec.num_classes, self.spec.dim_z
        width = self.spec.shared_dim if self._embeds else self.spec.rows
        shapes = {
            "latent_kernel": (labels, dim, dim),
            "latent_bias": (labels, dim),
            "class_kernel": (labels, dim, width),
            "class_bias": (labels, width),
        }
        for name, shape in shapes.items():
            setattr(self, name, self.add_weight(name=name, shape=shape, initializer="zeros"))

    def call(self, z, weights):
        mined = _affine(z, weights, self.latent_kernel, self.latent_bias)
        vector = _affine(z, weights, self.class_kernel, self.class_bias)
        return mined, ClassInput(embedding=vector) if self._embeds else ClassInput(vector)


def _affine(z, weights, kernel, bias):
    """z [B, d] through each sample's own map; kernel [K, d, e], bias [K, e] -> [B, e]."""
    matrices = ops.reshape(
        ops.matmul(weights, ops.reshape(kernel, (kernel.shape[0], -1))), (-1, *kernel.shape[1:])
    )
    return ops.matmul(z[:, None, :], matrices)[:, 0] + ops.matmul(weights, bias)
