"""BigGAN v1: generator and projection discriminator (Brock et al., 2019, appendix B).

One implementation for every resolution and variant, driven by `GanSpec`. Blocks get the factories
of their norms and convolutions, so a transfer method swaps conditioning without editing a model.

Trainable parameters, ImageNet 128x128, ch 96, 1000 classes: generator 70,433,988, discriminator
87,982,370 (BigGAN-PyTorch counts the same).

Deviations from BigGAN-PyTorch: resampling is fused into the convolutions (equal up to rounding,
`fused=False` gives the plain form), the 1x1 shortcuts run on the smaller side, and the output norm
uses the spec's epsilon.
"""

import functools
import itertools

import keras
from keras import ops

from cgt_tf.layers import conditional_batch_norm as norms
from cgt_tf.layers import resample
from cgt_tf.layers.attention import SelfAttention
from cgt_tf.layers.spectral import SpectralConv2D, SpectralDense, SpectralEmbedding
from cgt_tf.models.spec import GanSpec


def source_norm(spec: GanSpec):
    """Factory of a source's conditional norms, called as `norm(channels, name=...)`."""
    options = {"momentum": spec.bn_momentum, "epsilon": spec.bn_eps}
    if spec.shared_dim:
        return functools.partial(
            norms.ProjectedBatchNorm,
            condition_dim=spec.shared_dim + spec.chunk_dim,
            sn_eps=spec.sn_eps,
            **options,
        )
    return functools.partial(
        norms.TableBatchNorm, num_classes=spec.num_classes, latent_dim=spec.chunk_dim, **options
    )


class GeneratorBlock(keras.layers.Layer):
    """norm-relu-up-conv-norm-relu-conv plus a 1x1 shortcut; doubles height and width."""

    def __init__(self, in_channels, channels, *, norm, conv, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        self.norm1 = norm(in_channels, name="norm1")
        self.norm2 = norm(channels, name="norm2")
        self.conv1 = conv(channels, resample="up", name="conv1")
        self.conv2 = conv(channels, name="conv2")
        self.shortcut = conv(channels, kernel_size=1, name="shortcut")

    def build(self, input_shape):
        hidden = (*input_shape[:-1], self.channels)
        for layer in (self.norm1, self.conv1, self.shortcut):
            layer.build(input_shape)
        for layer in (self.norm2, self.conv2):
            layer.build(hidden)

    def call(self, x, condition, training=False):
        h = ops.relu(self.norm1(x, condition, training=training))
        h = self.conv1(h, training=training)
        h = ops.relu(self.norm2(h, condition, training=training))
        h = self.conv2(h, training=training)
        return h + resample.upsample_nearest(self.shortcut(x, training=training))


class Generator(keras.Model):
    """Class-conditional generator.

    Args:
        spec: the networks' spec.
        norm: factory of the conditional norms, `norm(channels, name=...)`; default `source_norm`.
        spectral_norm: False for weights that were divided by their norm beforehand.
        fused: see `layers.resample`.
        embedding_gain: norm of the initial rows of the shared class embedding (orthogonal, as far
            as there are no more classes than dimensions). At 1, the published value, z outweighs
            the class at first by the root of its chunk's width.
        domains: 0, or D for a generator whose batch-norm statistics are kept per domain.

    Call arguments:
        z: float32 [B, dim_z], used as given (the caller truncates and scales).
        labels: int32 [B], or class weights float32 [B, num_classes] for mixtures.
        truncation: selects batch-norm statistics where a source stores them per truncation; has
            no effect on networks with one set of statistics.
        training: use and update batch statistics and power vectors.
        domains: float32 [B, D], only where the generator has domains.

    Returns:
        `(images, endpoints)`: float32 [B, R, R, 3] in [-1, 1], and named feature maps: `linear`,
        `block_0` ... in order, `output_norm`.
    """

    def __init__(
        self,
        spec: GanSpec,
        *,
        norm=None,
        spectral_norm=True,
        fused=True,
        embedding_gain=1.0,
        domains=0,
        **kwargs,
    ):
        super().__init__(**{"name": "generator", **kwargs})
        self.spec = spec
        norm = norm or source_norm(spec)
        options = {"spectral_norm": spectral_norm, "sn_eps": spec.sn_eps}
        conv = functools.partial(SpectralConv2D, fused=fused, **options)
        self.class_embedding = None
        if spec.shared_dim:
            self.class_embedding = SpectralEmbedding(
                spec.shared_dim,
                spectral_norm=False,
                kernel_initializer=keras.initializers.Orthogonal(embedding_gain),
                name="class_embedding",
            )
        widths = spec.g_widths
        self.linear = SpectralDense(spec.bottom_width**2 * widths[0], name="linear", **options)
        self.blocks, self.attentions = [], {}
        for i, (in_channels, channels) in enumerate(itertools.pairwise(widths)):
            name = f"block_{i}"
            self.blocks.append(
                GeneratorBlock(in_channels, channels, norm=norm, conv=conv, name=name)
            )
            if spec.bottom_width * 2 ** (i + 1) in spec.g_attention:
                self.attentions[str(i)] = SelfAttention(channels, conv=conv, name=f"attention_{i}")
        self.output_norm = norms.AffineBatchNorm(
            widths[-1],
            momentum=spec.bn_momentum,
            epsilon=spec.bn_eps,
            domains=domains,
            name="output_norm",
        )
        self.output_conv = conv(3, name="output_conv")

    def build(self, z_shape):
        # Explicit builds spare Keras tracing every block symbolically, which takes seconds.
        spec = self.spec
        if self.class_embedding is not None:
            self.class_embedding.build((None, spec.num_classes))
        self.linear.build((*z_shape[:-1], spec.first_dim))
        for block, channels in zip(self.blocks, spec.g_widths, strict=False):
            block.build((None, None, None, channels))
        for attention in self.attentions.values():
            attention.build((None, None, None, attention.channels))
        for layer in (self.output_norm, self.output_conv):
            layer.build((None, None, None, spec.g_widths[-1]))

    def call(self, z, labels, truncation=1.0, training=False, domains=None):
        spec = self.spec
        classes = class_weights(labels, spec.num_classes)
        if self.class_embedding is not None:
            classes = self.class_embedding(classes)
        chunks = [z] + [None] * spec.num_blocks
        if spec.hierarchical:
            chunks = ops.split(z, spec.num_blocks + 1, axis=-1)
        h = self.linear(chunks[0], training=training)
        h = ops.reshape(h, (-1, spec.bottom_width, spec.bottom_width, spec.g_widths[0]))
        endpoints = {"linear": h}
        for i, block in enumerate(self.blocks):
            condition = norms.Condition(classes, chunks[i + 1], domains)
            h = block(h, condition, training=training)
            if str(i) in self.attentions:
                h = self.attentions[str(i)](h, training=training)
            endpoints[f"block_{i}"] = h
        condition = norms.Condition(classes, None, domains)
        h = ops.relu(self.output_norm(h, condition, training=training))
        endpoints["output_norm"] = h
        return ops.tanh(self.output_conv(h, training=training)), endpoints

    def conditional_norms(self):
        """The conditional norms, in network order (two a block)."""
        return [norm for block in self.blocks for norm in (block.norm1, block.norm2)]

    def spectral_layers(self):
        """Every linear and convolutional layer outside the norms, in network order."""
        layers = [self.linear]
        for i, block in enumerate(self.blocks):
            layers += [block.conv1, block.conv2, block.shortcut]
            if str(i) in self.attentions:
                attention = self.attentions[str(i)]
                layers += [attention.theta, attention.phi, attention.g, attention.o]
        return [*layers, self.output_conv]


class DiscriminatorBlock(keras.layers.Layer):
    """relu-conv-relu-conv(-pool) plus shortcut; the first block has no leading relu."""

    def __init__(self, in_channels, channels, *, conv, first, downsample, **kwargs):
        super().__init__(**kwargs)
        self.channels = channels
        self.first = first
        self.downsample = downsample
        self.conv1 = conv(channels, name="conv1")
        self.conv2 = conv(channels, resample="down" if downsample else None, name="conv2")
        self.shortcut = None
        if downsample or in_channels != channels:
            self.shortcut = conv(channels, kernel_size=1, name="shortcut")

    def build(self, input_shape):
        self.conv1.build(input_shape)
        self.conv2.build((*input_shape[:-1], self.channels))
        if self.shortcut is not None:
            self.shortcut.build(input_shape)

    def call(self, x, training=False):
        h = self.conv1(x if self.first else ops.relu(x), training=training)
        h = self.conv2(ops.relu(h), training=training)
        # Pooling commutes with a 1x1 convolution, and is cheaper before it.
        if self.downsample:
            x = resample.average_pool(x)
        if self.shortcut is not None:
            x = self.shortcut(x, training=training)
        return h + x


class Discriminator(keras.Model):
    """Projection discriminator: D(x, y) = w h(x) + b + <v_y, h(x)>, h the sum-pooled features.

    Call arguments:
        images: float32 [B, R, R, 3] in [-1, 1].
        labels: int32 [B], or class weights float32 [B, num_classes].
        training: update the power vectors.

    Returns:
        `(logits, endpoints)`: float32 [B], and `block_0` ..., `features` (h, [B, C]).
    """

    def __init__(self, spec: GanSpec, *, fused=True, **kwargs):
        super().__init__(**{"name": "discriminator", **kwargs})
        self.spec = spec
        options = {"sn_eps": spec.sn_eps}
        conv = functools.partial(SpectralConv2D, fused=fused, **options)
        self.blocks, self.attentions = [], {}
        widths = (3, *spec.d_widths)
        for i, (in_channels, channels) in enumerate(itertools.pairwise(widths)):
            block = DiscriminatorBlock(
                in_channels,
                channels,
                conv=conv,
                first=i == 0,
                downsample=i < spec.d_halvings,
                name=f"block_{i}",
            )
            self.blocks.append(block)
            if spec.resolution // 2 ** min(i + 1, spec.d_halvings) in spec.d_attention:
                self.attentions[str(i)] = SelfAttention(channels, conv=conv, name=f"attention_{i}")
        self.linear = SpectralDense(1, name="linear", **options)
        self.class_projection = SpectralEmbedding(widths[-1], name="class_projection", **options)

    def build(self, images_shape):
        widths = (images_shape[-1], *self.spec.d_widths)
        for block, channels in zip(self.blocks, widths, strict=False):
            block.build((None, None, None, channels))
        for attention in self.attentions.values():
            attention.build((None, None, None, attention.channels))
        self.linear.build((None, widths[-1]))
        self.class_projection.build((None, self.spec.num_classes))

    def call(self, images, labels, training=False):
        h = images
        endpoints = {}
        for i, block in enumerate(self.blocks):
            h = block(h, training=training)
            if str(i) in self.attentions:
                h = self.attentions[str(i)](h, training=training)
            endpoints[f"block_{i}"] = h
        features = ops.sum(ops.relu(h), axis=(1, 2))
        endpoints["features"] = features
        weights = class_weights(labels, self.spec.num_classes)
        projection = self.class_projection(weights, training=training)
        logits = self.linear(features, training=training)[:, 0]
        return logits + ops.sum(projection * features, axis=-1), endpoints


def class_weights(labels, num_classes):
    """Labels int [B] as one-hot rows; float class weights [B, num_classes] pass through."""
    labels = ops.convert_to_tensor(labels)
    if len(labels.shape) == 2:
        return labels
    return ops.one_hot(labels, num_classes)
