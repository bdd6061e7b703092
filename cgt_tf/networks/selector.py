"""Which of several members makes the image of a latent and a label."""

from keras import ops

from cgt_tf.layers.mixed import MixedLayer
from cgt_tf.networks.spec import GanSpec

_HIDDEN = 128
# The fractional part of so many times the first latent is as good as uniform, and the same again.
_FREQUENCY_FACTOR = 997.0


class Selector(MixedLayer):
    """Picks one of n members for each latent and label.

    `classifier`: the largest logit of a network with one hidden layer of 128 units, as the code of
    MineGAN for several generators has it, here of label and latent. `frequency`: member i with the
    probability p_y(i), as the paper has it; p_y are counts by label, and the draw is a function of
    z, so that a latent has one image: t = frac(997 z_0) is uniform for all practical purposes and
    hardly depends on z, and the member is the first whose cumulated probability is above t.

    Args:
        spec: Spec of the generator: K = `num_classes` labels, n = `members`, the kind in
            `selector`.

    Call arguments:
        z: float32 [B, dim_z].
        weights: of the labels, float32 [B, K]; one-hot rows.

    Returns:
        One-hot rows float32 [B, n].
    """

    def __init__(self, spec: GanSpec, **kwargs):
        super().__init__(**kwargs)
        self.spec = spec
        self.counts = None

    def build(self, z_shape):
        labels, members = self.spec.num_classes, self.spec.members
        if self.spec.selector == "frequency":
            self.counts = self.add_weight(
                name="counts",
                shape=(labels, members),
                initializer="ones",
                trainable=False,
                aggregation="mean",
            )
            return
        width = z_shape[-1] + labels
        self.hidden_kernel = self.add_weight(name="hidden_kernel", shape=(width, _HIDDEN))
        self.hidden_bias = self.add_weight(
            name="hidden_bias", shape=(_HIDDEN,), initializer="zeros"
        )
        self.kernel = self.add_weight(name="kernel", shape=(_HIDDEN, members))
        self.bias = self.add_weight(name="bias", shape=(members,), initializer="zeros")

    def logits(self, z, weights):
        """Of the members, [B, n]; of a classifier only."""
        x = ops.concatenate([z, weights], axis=-1)
        hidden = ops.relu(ops.matmul(x, self.hidden_kernel) + self.hidden_bias)
        return ops.matmul(hidden, self.kernel) + self.bias

    def call(self, z, weights):
        members = self.spec.members
        if self.counts is None:
            return ops.one_hot(ops.argmax(self.logits(z, weights), axis=-1), members)
        counts = ops.matmul(weights, self.counts)
        limits = ops.cumsum(counts, axis=-1) / ops.sum(counts, axis=-1, keepdims=True)
        position = _FREQUENCY_FACTOR * z[:, :1]
        below = limits <= position - ops.floor(position)
        # Rounding may leave the last limit below 1.
        index = ops.minimum(ops.sum(ops.cast(below, "int32"), axis=-1), members - 1)
        return ops.one_hot(index, members)


def picked(values, choice):
    """Of n values [B, ...] the one that each sample chose; `choice` is one-hot, [B, n]."""
    ones = (1,) * (len(values[0].shape) - 1)
    return sum(x * ops.reshape(choice[:, i], (-1, *ones)) for i, x in enumerate(values))
