"""BigGAN's generator (Brock et al., 2019, appendix B), and what all generators here share.

One implementation for every resolution and variant, driven by `GanSpec`. Blocks get the factories
of their norms and convolutions, so a transfer method swaps conditioning without editing a model.

Trainable parameters, ImageNet 128x128, ch 96, 1000 classes: generator 70,433,988, discriminator
87,982,370 (BigGAN-PyTorch counts the same).

Deviations from BigGAN-PyTorch: resampling is fused into the convolutions (equal up to rounding,
`fused=False` gives the plain form), and the 1x1 shortcuts run on the smaller side.
"""

import functools
import itertools

import keras
from keras import ops

from cgt_tf.errors import InputError
from cgt_tf.layers import resample
from cgt_tf.layers.attention import SelfAttention
from cgt_tf.layers.conditional_batch_norm import AffineBatchNorm, Condition
from cgt_tf.layers.mixed import MixedLayer, widen
from cgt_tf.layers.spectral import SpectralConv2D, SpectralDense, SpectralEmbedding
from cgt_tf.networks.conditioning import (
    ClassInput,
    base_condition,
    class_weights,
    single_labels,
    source_norm,
)
from cgt_tf.networks.spec import GanSpec


class BaseGenerator(keras.Model):
    """Class-conditional generator; subclasses make the blocks and lead z through them.

    Args:
        spec: The networks' spec.
        norm: Factory of the conditional norms, `norm(channels, name=...)`; default `source_norm`.
        conv: Factory of the blocks' 3x3 convolutions, `conv(filters, resample=..., name=...)`; they
            are called with the `Condition`. Default: the spectrally normalised ones.
        miner: Layer before the generator, `miner(z, class weights)` -> (z, `ClassInput`).
        embedding: Layer that embeds class weights, with a method `table()`; default: a table, where
            the spec has a shared embedding.
        spectral_norm: False for weights that were divided by their norm beforehand; default: True
            unless the spec is of a folded generator.
        fused: See `layers.resample`.
        initializer: Initializer of all kernels; orthogonal, as published, takes half a minute at
            full size, so whoever overwrites every kernel gives "zeros".
        embedding_gain: Norm of the initial rows of the shared class embedding (orthogonal, as far
            as there are no more classes than dimensions). At 1, the published value, z outweighs
            the class at first by the root of its chunk's width.

    Call arguments:
        z: float32 [B, dim_z], used as given (the caller truncates and scales).
        labels: int32 [B], class weights float32 [B, num_classes] for mixtures, or a `ClassInput`.
        truncation: scalar, or [B] for each sample its own; selects batch-norm statistics where the
            spec has a `truncation_grid`; has no effect on networks with one set of statistics, nor
            in training.
        training: use and update batch statistics and power vectors.
        power_iteration: whether the power vectors outside the norms move; None: as `training`.

    Returns:
        `(images, endpoints)`: float32 [B, R, R, 3] in [-1, 1], and named feature maps: `linear`,
        `block_0` ... in order, `output_norm`.
    """

    def __init__(
        self,
        spec: GanSpec,
        *,
        norm=None,
        conv=None,
        miner=None,
        embedding=None,
        spectral_norm=None,
        fused=True,
        initializer="orthogonal",
        embedding_gain=1.0,
        **kwargs,
    ):
        super().__init__(**{"name": "generator", "autocast": False, **kwargs})
        self.spec = spec
        if spectral_norm is None:
            spectral_norm = not spec.domain_classes
        options = {"spectral_norm": spectral_norm, "sn_eps": spec.sn_eps}
        options["kernel_initializer"] = initializer
        plain = functools.partial(SpectralConv2D, fused=fused, **options)
        self.miner = miner
        self.class_embedding = embedding
        if embedding is None and spec.shared_dim:
            self.class_embedding = SpectralEmbedding(
                spec.shared_dim,
                spectral_norm=False,
                kernel_initializer=(
                    keras.initializers.Orthogonal(embedding_gain)
                    if initializer == "orthogonal"
                    else initializer
                ),
                name="class_embedding",
            )
        widths = spec.g_widths
        self.linear = SpectralDense(spec.bottom_width**2 * widths[0], name="linear", **options)
        self.blocks, self.attentions = [], {}
        self.make_blocks(norm or source_norm(spec, initializer), plain, conv or plain)
        self.output_norm = AffineBatchNorm(
            widths[-1],
            momentum=spec.bn_momentum,
            epsilon=spec.bn_eps if spec.output_bn_eps is None else spec.output_bn_eps,
            statistics=spec.statistics,
            name="output_norm",
        )
        self.output_conv = self.make_output_conv(plain)

    def make_blocks(self, norm, conv, conv3) -> None:
        """Fills `blocks`, and `attentions` by the number of the block they follow.

        `conv3` makes the blocks' 3x3 convolutions, `conv` all others.
        """
        raise NotImplementedError(f"{type(self).__name__} must define make_blocks")

    def make_output_conv(self, conv):
        """The layer that makes colours."""
        return conv(3, name="output_conv")

    def latents(self, z, embedding):
        """`(input of the first linear layer, what each block's norms see of z)`."""
        raise NotImplementedError(f"{type(self).__name__} must define latents")

    def build(self, z_shape):
        # Explicit builds spare Keras tracing every block symbolically, which takes seconds.
        spec = self.spec
        if self.miner is not None:
            self.miner.build(z_shape)
        if self.class_embedding is not None:
            self.class_embedding.build((None, spec.rows))
        self.linear.build((*z_shape[:-1], spec.first_dim))
        for block in self.blocks:
            block.build((None, None, None, block.in_channels))
        for attention in self.attentions.values():
            attention.build((None, None, None, attention.channels))
        for layer in (self.output_norm, self.output_conv):
            layer.build((None, None, None, spec.g_widths[-1]))

    def call(self, z, labels, truncation=1.0, training=False, power_iteration=None):
        spec = self.spec
        moving = training if power_iteration is None else power_iteration
        z = ops.cast(z, "float32")
        if self.miner is not None:
            z, labels = self.miner(z, class_weights(labels, spec.num_classes))
        condition = self.condition(labels, truncation)
        first, latents = self.latents(z, condition.embedding)
        h = self.linear(first, training=moving)
        h = ops.reshape(h, (-1, spec.bottom_width, spec.bottom_width, spec.g_widths[0]))
        endpoints = {"linear": h}
        h = ops.cast(h, self.compute_dtype)
        for i, (block, latent) in enumerate(zip(self.blocks, latents, strict=True)):
            condition = condition._replace(latent=latent)
            h = block(h, condition, training=training, power_iteration=moving)
            if str(i) in self.attentions:
                h = self.attentions[str(i)](h, training=moving)
            endpoints[f"block_{i}"] = widen(h)
        h = ops.relu(self.output_norm(h, condition, training=training))
        endpoints["output_norm"] = widen(h)
        return ops.tanh(widen(self.output_conv(h, training=moving))), endpoints

    def condition(self, labels, truncation) -> Condition:
        """What the blocks see of the classes: labels, weights or a `ClassInput`."""
        given = labels if isinstance(labels, ClassInput) else ClassInput(labels)
        weights = None if given.classes is None else class_weights(given.classes, self.spec.rows)
        embedding = given.embedding
        if embedding is not None and (self.class_embedding is None or self.spec.domain_classes):
            raise InputError("expected labels or weights: this generator embeds no class vectors")
        if embedding is None and self.class_embedding is not None:
            embedding = self.class_embedding(weights)
        condition = base_condition(self.spec, weights, truncation)
        labels = single_labels(given.classes)
        return condition._replace(embedding=embedding, kernels=given.kernels, labels=labels)

    @property
    def convolutions(self) -> list[SpectralConv2D]:
        """The convolutions whose kernels can be held, in network order."""
        return [layer for layer in self.spectral_layers() if isinstance(layer, SpectralConv2D)]

    def conditional_norms(self):
        """The conditional norms, in network order."""
        return [norm for block in self.blocks for norm in block.norms]

    def spectral_layers(self):
        """Every linear and convolutional layer outside the norms, in network order."""
        layers = [self.linear]
        for i, block in enumerate(self.blocks):
            layers += block.convolutions
            if str(i) in self.attentions:
                attention = self.attentions[str(i)]
                layers += [attention.theta, attention.phi, attention.g, attention.o]
        return [*layers, self.output_conv]


class GeneratorBlock(MixedLayer):
    """norm-relu-up-conv-norm-relu-conv plus a 1x1 shortcut; doubles height and width."""

    def __init__(self, in_channels, channels, *, norm, conv, conv3, **kwargs):
        super().__init__(**kwargs)
        self.in_channels = in_channels
        self.channels = channels
        self.norm1 = norm(in_channels, name="norm1")
        self.norm2 = norm(channels, name="norm2")
        self.conv1 = conv3(channels, resample="up", name="conv1")
        self.conv2 = conv3(channels, name="conv2")
        self.shortcut = conv(channels, kernel_size=1, name="shortcut")

    @property
    def norms(self):
        return [self.norm1, self.norm2]

    @property
    def convolutions(self):
        return [self.conv1, self.conv2, self.shortcut]

    def build(self, input_shape):
        hidden = (*input_shape[:-1], self.channels)
        for layer in (self.norm1, self.conv1, self.shortcut):
            layer.build(input_shape)
        for layer in (self.norm2, self.conv2):
            layer.build(hidden)

    def call(self, x, condition: Condition, training=False, power_iteration=False):
        h = ops.relu(self.norm1(x, condition, training=training))
        h = self.conv1(h, condition, training=power_iteration)
        h = ops.relu(self.norm2(h, condition, training=training))
        h = self.conv2(h, condition, training=power_iteration)
        return h + resample.upsample_nearest(self.shortcut(x, training=power_iteration))


class Generator(BaseGenerator):
    """BigGAN's generator: one block for each doubling, fed with its own chunk of z."""

    def make_blocks(self, norm, conv, conv3):
        spec = self.spec
        options = {"norm": norm, "conv": conv, "conv3": conv3}
        for i, (in_channels, channels) in enumerate(itertools.pairwise(spec.g_widths)):
            block = GeneratorBlock(in_channels, channels, name=f"block_{i}", **options)
            self.blocks.append(block)
            if spec.bottom_width * 2 ** (i + 1) in spec.g_attention:
                self.attentions[str(i)] = SelfAttention(channels, conv=conv, name=f"attention_{i}")

    def latents(self, z, embedding):
        blocks = self.spec.num_blocks
        if not self.spec.hierarchical:
            return z, [None] * blocks
        first, *chunks = ops.split(z, blocks + 1, axis=-1)
        return first, chunks
