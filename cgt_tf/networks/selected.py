"""Several mined generators as one, of which a selector picks one for each latent and label."""

import keras

from cgt_tf.errors import InputError
from cgt_tf.networks.conditioning import class_weights
from cgt_tf.networks.selector import Selector, picked
from cgt_tf.networks.spec import GanSpec


class SelectedGenerator(keras.Model):
    """Each image is that of one member; all are computed, so a pass takes as long as n.

    Args:
        spec: With n = `members`.
        members: Generators of `spec.member_specs`, not built, named `member_0` and so on.

    Call arguments:
        z: float32 [B, dim_z].
        labels: int [B], or one-hot rows float32 [B, num_classes].
        truncation: as for `BaseGenerator`.

    Returns:
        `(images float32 [B, R, R, 3], {"choice": one-hot [B, n]})`.
    """

    def __init__(self, spec: GanSpec, members: list, **kwargs):
        super().__init__(**{"name": "generator", "autocast": False, **kwargs})
        self.spec = spec
        self.members = members
        self.selector = Selector(spec, name="selector")

    def build(self, z_shape):
        for layer in (*self.members, self.selector):
            layer.build(z_shape)

    def call(self, z, labels, truncation=1.0):
        weights = class_weights(labels, self.spec.num_classes)
        choice = self.selector(z, weights)
        images = [member(z, weights, truncation=truncation)[0] for member in self.members]
        return picked(images, choice), {"choice": choice}

    @property
    def convolutions(self) -> list:
        """As of `BaseGenerator`, of all members."""
        return [layer for member in self.members for layer in member.convolutions]

    def conditional_norms(self):
        """Refused: what norms would see of a batch depends on which samples pick their member."""
        raise InputError("expected one generator for standing statistics, got one of several")
