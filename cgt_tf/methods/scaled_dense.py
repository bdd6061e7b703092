"""A generator's first linear layer with a scale and a shift for each channel it makes."""

from keras import ops

from cgt_tf.layers.spectral import SpectralDense


class ScaledDense(SpectralDense):
    """[B, C_in] -> [B, cells * channels]: `SpectralDense`, then `scale * y + shift` by channel.

    To others, who read `normalized_kernel` and `bias`, it is a dense layer with both multiplied in.

    Args:
        units: Cells * channels; channels are innermost.
        channels: Channels of the feature map that the output is reshaped to.
    """

    def __init__(self, units, *, channels, **kwargs):
        super().__init__(units, **kwargs)
        self.channels = channels

    def build(self, input_shape):
        self.add_kernel((input_shape[-1], self.units))
        self.raw_bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros")
        self.scale = self.add_weight(name="scale", shape=(self.channels,), initializer="ones")
        self.shift = self.add_weight(name="shift", shape=(self.channels,), initializer="zeros")

    def normalized_kernel(self, training):
        return super().normalized_kernel(training) * self._over_cells(self.scale)

    @property
    def bias(self):
        return self.raw_bias * self._over_cells(self.scale) + self._over_cells(self.shift)

    def _over_cells(self, vector):
        return ops.tile(vector, (self.units // self.channels,))

    def get_config(self):
        return {**super().get_config(), "channels": self.channels}
