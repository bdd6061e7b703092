"""Layers with an equalised learning rate, and the task network of Hyper-Modulation made of them.

The variable is drawn from N(0, 1) and multiplied by sqrt(2 / fan-in) when used, so that Adam's step
is the same share of every weight (Karras et al., "Progressive Growing of GANs", ICLR 2018).
"""

import keras
from keras import ops

from cgt_tf.layers.mixed import MixedLayer

_SLOPE = 0.2
_LAYERS = 4


def equalised(fan_in: int) -> float:
    """Factor of a weight of so many inputs: sqrt(2 / fan-in)."""
    return (2.0 / fan_in) ** 0.5


class EqualisedDense(MixedLayer):
    """Linear layer, [..., C_in] -> [..., units]; kernel [C_in, units], times sqrt(2 / C_in).

    Args:
        units: Outputs.
        kernel_initializer: Default N(0, 1). The bias starts at 0.
    """

    def __init__(self, units, *, kernel_initializer="random_normal_one", **kwargs):
        super().__init__(**kwargs)
        self.units = units
        if kernel_initializer == "random_normal_one":
            kernel_initializer = keras.initializers.RandomNormal(stddev=1.0)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        shape = (input_shape[-1], self.units)
        self.kernel = self.add_weight(
            name="kernel", shape=shape, initializer=self.kernel_initializer
        )
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")

    def call(self, x):
        return ops.matmul(x, self.kernel * equalised(self.kernel.shape[0])) + self.bias

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


class TaskNetwork(MixedLayer):
    """Class weights float [B, M] -> task vectors t [B, T].

    A table V [M, T], drawn from N(0, 1) and multiplied by sqrt(2 / T) when used, then four times
    (linear T -> T, leaky ReLU of slope 0.2), as in the code of Hyper-Modulation.

    Args:
        num_classes: M.
        width: T.
    """

    def __init__(self, num_classes, width, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.width = width
        # By name, as checkpoints of a layer do not see into lists.
        for i in range(_LAYERS):
            setattr(self, f"linear_{i}", EqualisedDense(width, name=f"linear_{i}"))

    @property
    def linears(self) -> list[EqualisedDense]:
        """The linear layers, in order."""
        return [getattr(self, f"linear_{i}") for i in range(_LAYERS)]

    def build(self, input_shape):
        del input_shape
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.num_classes, self.width),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
        )
        for linear in self.linears:
            linear.build((None, self.width))

    def call(self, weights):
        t = ops.matmul(weights, self.embeddings * equalised(self.width))
        for linear in self.linears:
            t = ops.leaky_relu(linear(t), _SLOPE)
        return t

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes, "width": self.width}
