"""The transfer norm of cGANTransfer (Shahbazi et al., CVPR 2021, section 4, eq. 6).

The offsets of M new classes are drawn from N pseudo-classes by similarity scores. With P [N, C] the
pseudo-classes (a trainable copy of the old classes' offsets), S [N, M] the scores and R [M, C] the
residuals, each for scale and shift apart, the table of the new classes is S^T P + R, and
scale = 1 + c (S^T P + R) + z Z, shift likewise without the 1. This is the offset form: the paper
mixes whole scales, so that shrinking scores by l1 would drive them to 0; here it drives them to 1.
Scores one-hot at i with R = 0 restore old class i exactly.

The authors' code adds, by settings of `PropagatedOffsets`: spectral norms on P, S and Z; a bias s
[N] of the scores that all new classes share; biases [C] of P and of Z.
"""

from keras import ops

from cgt_tf.layers.conditional_batch_norm import ConditionalBatchNorm, FoldedOffsets
from cgt_tf.layers.mixed import MixedLayer
from cgt_tf.layers.spectral import SpectralDense, SpectralLayer

# Of scores and latent projections in the authors' code, whatever is set for the rest.
_CODE_SN_EPS = 1e-12


def _rows_of(table, class_weights, labels):
    """Rows [B, C] of a table [M, C]; with labels at a cost that does not grow with M."""
    if labels is None:
        return ops.matmul(class_weights, table)
    return ops.take(table, labels, axis=0)


class ScoreMatrix(SpectralLayer):
    """Similarity scores [N, M] of M new classes to N pseudo-classes; may be shared by layers.

    Variables: `kernel` [N, M], and `bias` [N] where `use_bias`.
    """

    outputs_axis = 0

    def __init__(self, num_classes, *, use_bias=False, kernel_initializer="zeros", **kwargs):
        super().__init__(kernel_initializer=kernel_initializer, **kwargs)
        self.num_classes = num_classes
        self.use_bias = use_bias

    def build(self, input_shape):
        self.add_kernel((input_shape[-1], self.num_classes))
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(input_shape[-1],), initializer="zeros")

    def call(self, class_weights, training=False, labels=None):
        """Class weights [B, M], or labels int [B], to weights of the pseudo-classes [B, N]."""
        rows = ops.transpose(self.normalized_kernel(training))
        weights = _rows_of(rows, class_weights, labels)
        return weights + self.bias if self.use_bias else weights

    def get_config(self):
        sizes = {"num_classes": self.num_classes, "use_bias": self.use_bias}
        return {**super().get_config(), **sizes}


class PropagatedOffsets(MixedLayer):
    """One row of offsets [C] for each new class; see the module's first lines.

    Sub-layers and variables: `prior/kernel` [N, C], `scores/kernel` [N, M], `residual` [M, C],
    `latent/kernel` [dim, C]; all zeros until a method sets them.

    Args:
        channels: C.
        num_classes: M.
        num_pseudo_classes: N; 0 for residuals alone.
        latent_dim: Width of the latent chunk; 0 for none.
        residual: Whether there is R.
        scores: A built `ScoreMatrix` to share with other layers; default: one of its own.
        spectral_norm: Whether P, S and Z are divided by their spectral norms.
        score_bias, prior_bias, latent_bias: Whether S, P and Z have a bias.
        sn_eps: Epsilon of the power iteration for P.
    """

    def __init__(
        self,
        channels,
        *,
        num_classes,
        num_pseudo_classes,
        latent_dim=0,
        residual=True,
        scores=None,
        spectral_norm=False,
        score_bias=False,
        prior_bias=False,
        latent_bias=False,
        sn_eps=1e-6,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.settings = {
            "channels": channels,
            "num_classes": num_classes,
            "num_pseudo_classes": num_pseudo_classes,
            "latent_dim": latent_dim,
            "residual": residual,
            "spectral_norm": spectral_norm,
            "score_bias": score_bias,
            "prior_bias": prior_bias,
            "latent_bias": latent_bias,
            "sn_eps": sn_eps,
        }
        options = {"spectral_norm": spectral_norm, "dtype": self.dtype_policy}
        self.prior = self.scores = self.latent = self.residual = None
        if num_pseudo_classes:
            self.prior = SpectralDense(
                channels,
                use_bias=prior_bias,
                sn_eps=sn_eps,
                kernel_initializer="zeros",
                name="prior",
                **options,
            )
            self.scores = scores or ScoreMatrix(
                num_classes, use_bias=score_bias, sn_eps=_CODE_SN_EPS, name="scores", **options
            )
        if latent_dim:
            self.latent = SpectralDense(
                channels,
                use_bias=latent_bias,
                sn_eps=_CODE_SN_EPS,
                kernel_initializer="zeros",
                name="latent",
                **options,
            )

    def build(self, input_shape=None):
        sizes = self.settings
        if self.prior is not None:
            self.prior.build((None, sizes["num_pseudo_classes"]))
            if not self.scores.built:
                self.scores.build((None, sizes["num_pseudo_classes"]))
        if self.latent is not None:
            self.latent.build((None, sizes["latent_dim"]))
        if sizes["residual"]:
            shape = (sizes["num_classes"], sizes["channels"])
            self.residual = self.add_weight(name="residual", shape=shape, initializer="zeros")

    def call(self, class_weights, latent=None, training=False, labels=None):
        """Class weights c [B, M], and chunks of z [B, dim] where there is one, to [B, C].

        With labels int [B], c is taken to be their one-hot rows.

        P (S c + s) + p + R c + Z z: weights that do not add up to 1 scale what the classes have of
        their own, not the biases that are common to them.
        """
        offsets = ops.zeros((1, self.settings["channels"]))
        if self.prior is not None:
            scores = self.scores(class_weights, training=training, labels=labels)
            offsets = offsets + self.prior(scores, training=training)
        if self.residual is not None:
            offsets = offsets + _rows_of(self.residual, class_weights, labels)
        return offsets if latent is None else offsets + self.latent(latent, training=training)

    def table(self):
        """Offsets of the new classes without their latent part, [M, C]."""
        return self(ops.eye(self.settings["num_classes"]))

    def fold(self):
        """`(table [M, C], latent projection [dim, C] or None)` with every norm multiplied out."""
        if self.latent is None:
            return self.table(), None
        table = self.table()
        if self.latent.use_bias:
            table = table + self.latent.bias
        return table, ops.convert_to_tensor(self.latent.normalized_kernel(False))

    def get_config(self):
        return {**super().get_config(), **self.settings}


class PseudoClassBatchNorm(ConditionalBatchNorm):
    """Conditional batch norm whose scales and shifts are `PropagatedOffsets`.

    Args:
        channels, momentum, epsilon: See `ConditionalBatchNorm`.
        scores: `ScoreMatrix` layers by "scale" and "shift" to share with other norms, or None.
        offsets: The other arguments of `PropagatedOffsets`, but for its channels.
    """

    def __init__(self, channels, *, scores=None, offsets, **kwargs):
        super().__init__(channels, **kwargs)
        self.offsets = dict(offsets)
        options = {**self.offsets, "dtype": self.dtype_policy}
        shared = scores or {}
        self.scale = PropagatedOffsets(
            channels, scores=shared.get("scale"), name="scale", **options
        )
        self.shift = PropagatedOffsets(
            channels, scores=shared.get("shift"), name="shift", **options
        )

    def build_modulation(self):
        self.scale.build()
        self.shift.build()

    def modulation(self, condition, training):
        given = (condition.classes, condition.latent)
        options = {"training": training, "labels": condition.labels}
        scale, shift = (part(*given, **options) for part in (self.scale, self.shift))
        return 1 + scale, shift

    def fold(self, embeddings=None) -> FoldedOffsets:
        """The new classes' tables; `embeddings` is accepted for the sake of other norms."""
        (scale, scale_latent), (shift, shift_latent) = self.scale.fold(), self.shift.fold()
        return FoldedOffsets(scale, shift, scale_latent, shift_latent)

    def get_config(self):
        return {**super().get_config(), "offsets": self.offsets}
