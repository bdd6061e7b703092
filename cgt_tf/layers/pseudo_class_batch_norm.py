"""The transfer norm of cGANTransfer (Shahbazi et al., CVPR 2021, section 4, eq. 6)."""

import keras
from keras import ops

from cgt_tf.layers.conditional_batch_norm import TableBatchNorm


class PseudoClassBatchNorm(TableBatchNorm):
    """Draws the offsets of M new classes from N pseudo-classes by similarity scores.

    With P [N, C] the pseudo-classes (a trainable copy of the old classes' offsets), S [N, M] the
    scores and R [M, C] the residuals, each for scale and shift apart, the table of the new classes
    is S^T P + R, and scale = 1 + c (S^T P + R) + z Z, shift likewise without the 1. This is the
    offset form: the paper mixes whole scales, so that shrinking scores by l1 would drive them to
    0; here it drives them to 1. Scores one-hot at i with R = 0 restore old class i exactly.

    Variables, with `scale_` and `shift_` variants: `prior` [N, C], `scores` [N, M], `residual`
    [M, C], and `latent` [dim, C] where the generator has hierarchical latents.

    Args:
        num_classes: M, the new classes.
        num_pseudo_classes: N, the old classes.
        latent_dim, channels: see `TableBatchNorm`.
    """

    def __init__(self, channels, *, num_classes, num_pseudo_classes, **kwargs):
        super().__init__(channels, num_classes=num_classes, **kwargs)
        if self.domains:
            raise ValueError("PseudoClassBatchNorm has one domain; fold it for several")
        self.num_pseudo_classes = num_pseudo_classes

    def build_modulation(self):
        for part in ("scale", "shift"):
            self._variable(f"{part}_prior", (self.num_pseudo_classes, self.channels))
            self._variable(f"{part}_scores", (self.num_pseudo_classes, self.num_classes))
            self._variable(f"{part}_residual", (self.num_classes, self.channels))
            if self.latent_dim:
                self._variable(f"{part}_latent", (self.latent_dim, self.channels))

    def _variable(self, name, shape):
        # Values come from the source and the method, so a forgotten one shows as zeros.
        weight = self.add_weight(name=name, shape=shape, initializer="zeros", trainable=True)
        setattr(self, name, weight)

    def class_tables(self):
        return (
            ops.matmul(ops.transpose(self.scale_scores), self.scale_prior) + self.scale_residual,
            ops.matmul(ops.transpose(self.shift_scores), self.shift_prior) + self.shift_residual,
        )

    def get_config(self):
        return {**super().get_config(), "num_pseudo_classes": self.num_pseudo_classes}


class PseudoClassEmbedding(keras.layers.Layer):
    """The class embedding of M new classes, drawn from those of N pseudo-classes.

    For BigGAN-deep, whose first linear layer sees the class embedding too. The vectors are
    S^T P + R; variables `prior` P [N, dim], `scores` S [N, M], `residual` R [M, dim], see
    `PseudoClassBatchNorm`.

    Call: class weights float [B, M] -> [B, dim].
    """

    def __init__(self, dim, *, num_classes, num_pseudo_classes, **kwargs):
        super().__init__(**kwargs)
        self.dim = dim
        self.num_classes = num_classes
        self.num_pseudo_classes = num_pseudo_classes

    def build(self, input_shape):
        for name, shape in (
            ("prior", (self.num_pseudo_classes, self.dim)),
            ("scores", (self.num_pseudo_classes, self.num_classes)),
            ("residual", (self.num_classes, self.dim)),
        ):
            setattr(self, name, self.add_weight(name=name, shape=shape, initializer="zeros"))

    def table(self):
        """The new classes' vectors, [M, dim]."""
        return ops.matmul(ops.transpose(self.scores), self.prior) + self.residual

    def call(self, class_weights, training=False):
        return ops.matmul(class_weights, self.table())

    def get_config(self):
        sizes = {name: getattr(self, name) for name in ("dim", "num_classes", "num_pseudo_classes")}
        return {**super().get_config(), **sizes}
