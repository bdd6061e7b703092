"""Batch normalisation whose scale and shift depend on a class and on a chunk of the latent.

`ConditionalBatchNorm` owns the statistics; where scale and shift come from is one hook,
`modulation`. Subclasses here: projections of a shared embedding (BigGAN), tables of one row a class
(BigGAN on CIFAR, and every folded generator), and constants (the output norm). The pseudo-class
form of cGANTransfer is in `pseudo_class_batch_norm.py`.

Conventions, different from Keras' batch normalisation: momentum 0.9, epsilon from the network's
spec, the moving variance takes the unbiased n / (n - 1) estimate while the batch is normalised with
the biased one (as PyTorch). Under a strategy the moments are those of the global batch; n in
n / (n - 1) stays the replica's own count.
"""

from typing import Any, NamedTuple

import keras
from keras import ops

from cgt_tf.layers import batch_moments
from cgt_tf.layers.mixed import MixedLayer
from cgt_tf.layers.spectral import SpectralDense


class Condition(NamedTuple):
    """What the layers of a generator's block are conditioned on.

    Attributes:
        classes: float [B, K] class weights, or None where a class is a vector alone.
        latent: float [B, dim] chunk of z, or None in generators without hierarchical latents.
        statistics: float [B, R] or [1, R] weights of the rows of moving statistics, or None where a
            layer keeps one row.
        domains: float [B, D] weights of the domains, or None where there is one.
        embedding: float [B, E] shared class embedding, or None in generators without one.
        kernels: float [B, T], what modulated convolutions see; None: the class weights.
        labels: int [B], the classes where each sample is of one, so that a layer may read its row
            of a table instead of multiplying with all; else None.
    """

    classes: Any
    latent: Any = None
    statistics: Any = None
    domains: Any = None
    embedding: Any = None
    kernels: Any = None
    labels: Any = None


class FoldedOffsets(NamedTuple):
    """The offsets of a conditional norm with everything that makes them multiplied out.

    Attributes:
        scale, shift: float [K, C], one row a class; the scale without its 1 +.
        scale_latent, shift_latent: float [dim, C], or None without latent.
    """

    scale: Any
    shift: Any
    scale_latent: Any = None
    shift_latent: Any = None


class ConditionalBatchNorm(MixedLayer):
    """Normalises [B, H, W, C] over B, H, W, then scales and shifts each channel of each sample.

    Without a subclass the scale is 1 and the shift 0.

    Args:
        channels: C.
        momentum: Share of the old moving statistics kept at each training call.
        epsilon: Added to the variance.
        statistics: 0 keeps one set of moving statistics [C]. R >= 1 keeps R of them, [R, C], for
            the levels of truncation and the domains of a generator, mixed by
            `Condition.statistics`. A training call moves all rows to the batch's statistics.
    """

    def __init__(self, channels, *, momentum=0.9, epsilon=1e-5, statistics=0, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        self.momentum = momentum
        self.epsilon = epsilon
        self.statistics = statistics

    def build(self, input_shape):
        if input_shape[-1] != self.channels:
            raise ValueError(f"{self.name}: expected {self.channels} channels, got {input_shape}")
        shape = (self.statistics, self.channels) if self.statistics else (self.channels,)
        self.moving_mean = self._statistic("moving_mean", shape, "zeros")
        self.moving_variance = self._statistic("moving_variance", shape, "ones")
        self.build_modulation()

    def _statistic(self, name, shape, initializer):
        return self.add_weight(
            name=name, shape=shape, initializer=initializer, trainable=False, aggregation="mean"
        )

    def build_modulation(self):
        """Creates the variables that `modulation` reads."""

    def modulation(self, condition, training):
        """`(scale, shift)`, each broadcastable to [B, C]; the scale includes its 1 +."""
        del condition, training
        return ops.ones((1, self.channels)), ops.zeros((1, self.channels))

    def call(self, x, condition, training=False):
        scale, shift = self.modulation(condition, training)
        if training:
            x, mean, variance = batch_moments.normalize(x, self.epsilon)
            for weight, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
                weight.assign(self.momentum * weight + (1 - self.momentum) * value)
        else:
            mean, variance = self._moving(condition)
            scale = scale * ops.rsqrt(variance + self.epsilon)
            shift = shift - mean * scale
        scale, shift = (self.narrow(each)[:, None, None, :] for each in (scale, shift))
        return self.narrow(x) * scale + shift

    def _moving(self, condition):
        if not self.statistics:
            return self.moving_mean, self.moving_variance
        weights = condition.statistics
        return ops.matmul(weights, self.moving_mean), ops.matmul(weights, self.moving_variance)

    def get_config(self):
        return {
            **super().get_config(),
            "channels": self.channels,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "statistics": self.statistics,
        }


class AffineBatchNorm(ConditionalBatchNorm):
    """Unconditional: a trainable gain and bias a channel (BigGAN's output norm)."""

    def build_modulation(self):
        self.gain = self.add_weight(name="gain", shape=(self.channels,), initializer="ones")
        self.bias = self.add_weight(name="bias", shape=(self.channels,), initializer="zeros")

    def modulation(self, condition, training):
        return self.gain[None], self.bias[None]


class ProjectedBatchNorm(ConditionalBatchNorm):
    """BigGAN's norm: scale = 1 + W_scale [e; z], shift = W_shift [e; z].

    e is the shared class embedding. The projections have no bias and are spectrally normalised.

    Args:
        condition_dim: Width of e plus width of the latent chunk.
        sn_eps: Epsilon of the power iteration.
        initializer: Initializer of the projections; BigGAN's is orthogonal.
    """

    def __init__(self, channels, *, condition_dim, sn_eps=1e-6, initializer="orthogonal", **kwargs):
        super().__init__(channels, **kwargs)
        self.condition_dim = condition_dim
        self.sn_eps = sn_eps
        self.initializer = keras.initializers.get(initializer)
        options = {"use_bias": False, "sn_eps": sn_eps, "dtype": self.dtype_policy}
        options["kernel_initializer"] = initializer
        self.scale = SpectralDense(channels, name="scale", **options)
        self.shift = SpectralDense(channels, name="shift", **options)

    def build_modulation(self):
        self.scale.build((None, self.condition_dim))
        self.shift.build((None, self.condition_dim))

    def modulation(self, condition, training):
        joined = condition.embedding
        if condition.latent is not None:
            joined = ops.concatenate([joined, condition.latent], axis=-1)
        return 1 + self.scale(joined, training=training), self.shift(joined, training=training)

    def fold(self, embeddings, raw=False) -> FoldedOffsets:
        """Multiplies the class embeddings [K, E] and, unless `raw`, the spectral norms out."""
        width = embeddings.shape[-1]
        parts = (self.scale, self.shift)
        kernels = [part.kernel if raw else part.normalized_kernel(False) for part in parts]
        kernels = [ops.convert_to_tensor(kernel) for kernel in kernels]
        tables = [ops.matmul(embeddings, kernel[:width]) for kernel in kernels]
        if width == self.condition_dim:
            return FoldedOffsets(*tables)
        return FoldedOffsets(*tables, *(kernel[width:] for kernel in kernels))

    def get_config(self):
        return {
            **super().get_config(),
            "condition_dim": self.condition_dim,
            "sn_eps": self.sn_eps,
            "initializer": keras.initializers.serialize(self.initializer),
        }


class TableBatchNorm(ConditionalBatchNorm):
    """One row of offsets a class: scale = 1 + c T (+ z Z), shift = c T' (+ z Z').

    c are class weights [B, K]. Without latent this is the norm of BigGAN's CIFAR models; with it,
    what a projected or a pseudo-class norm is folded into.

    Args:
        num_classes: K.
        latent_dim: Width of the latent chunk; 0 for none.
        domains: 0, or D for a layer of which each domain (a set of classes that were learnt
            together) has its own latent projection. In a training call all domains meet the
            statistics of the whole batch.
        initializer: Initializer of the tables; BigGAN's is orthogonal.
    """

    def __init__(
        self,
        channels,
        *,
        num_classes,
        latent_dim=0,
        domains=0,
        initializer="orthogonal",
        **kwargs,
    ):
        super().__init__(channels, **kwargs)
        self.num_classes = num_classes
        self.latent_dim = latent_dim
        self.domains = domains
        self.initializer = keras.initializers.get(initializer)

    def build_modulation(self):
        self.scale_table = self._table("scale_table", self.num_classes)
        self.shift_table = self._table("shift_table", self.num_classes)
        if self.latent_dim:
            rows = self.latent_dim * max(self.domains, 1)
            self.scale_latent = self._table("scale_latent", rows)
            self.shift_latent = self._table("shift_latent", rows)

    def _table(self, name, rows):
        return self.add_weight(
            name=name, shape=(rows, self.channels), initializer=self.initializer, trainable=True
        )

    def class_tables(self):
        """`(scale, shift)` offsets of every class, each [K, C]."""
        return ops.convert_to_tensor(self.scale_table), ops.convert_to_tensor(self.shift_table)

    def fold(self, embeddings=None, raw=False) -> FoldedOffsets:
        """The tables themselves; the arguments are accepted for the sake of other norms."""
        if not self.latent_dim:
            return FoldedOffsets(*self.class_tables())
        latents = [ops.convert_to_tensor(x) for x in (self.scale_latent, self.shift_latent)]
        return FoldedOffsets(*self.class_tables(), *latents)

    def modulation(self, condition, training):
        del training
        scale_table, shift_table = self.class_tables()
        scale = 1 + ops.matmul(condition.classes, scale_table)
        shift = ops.matmul(condition.classes, shift_table)
        if self.latent_dim:
            latent = self._latent_by_domain(condition)
            scale = scale + ops.matmul(latent, self.scale_latent)
            shift = shift + ops.matmul(latent, self.shift_latent)
        return scale, shift

    def _latent_by_domain(self, condition):
        """The chunk [B, dim], or its product with each domain's weight, joined: [B, D dim]."""
        if not self.domains:
            return condition.latent
        product = condition.domains[:, :, None] * condition.latent[:, None, :]
        return ops.reshape(product, (-1, self.domains * self.latent_dim))

    def get_config(self):
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "latent_dim": self.latent_dim,
            "domains": self.domains,
            "initializer": keras.initializers.serialize(self.initializer),
        }
