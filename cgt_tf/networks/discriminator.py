"""BigGAN's projection discriminator (Brock et al., 2019, appendix B)."""

import functools
import itertools

import keras
from keras import ops

from cgt_tf.layers import resample
from cgt_tf.layers.attention import SelfAttention
from cgt_tf.layers.mixed import MixedLayer, widen
from cgt_tf.layers.spectral import SpectralConv2D, SpectralDense, SpectralEmbedding
from cgt_tf.networks.conditioning import class_weights
from cgt_tf.networks.spec import GanSpec


class DiscriminatorBlock(MixedLayer):
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

    Attributes:
        frozen_blocks: How many blocks, from the image side, are never in training, with the
            attentions after them: their power vectors stay. What is trained is a method's choice.

    Returns:
        `(logits, endpoints)`: float32 [B], and `block_0` ..., `features` (h, [B, C]) and the two
        summands of the logits, `unconditional` (w h + b) and `projection` (<v_y, h>), [B].
    """

    def __init__(self, spec: GanSpec, *, fused=True, initializer="orthogonal", **kwargs):
        super().__init__(**{"name": "discriminator", "autocast": False, **kwargs})
        self.spec = spec
        self.num_classes = spec.d_classes or spec.num_classes
        self.frozen_blocks = 0
        options = {"sn_eps": spec.sn_eps, "kernel_initializer": initializer}
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
        self.class_projection.build((None, self.num_classes))

    def call(self, images, labels, training=False):
        h = ops.cast(images, self.compute_dtype)
        endpoints = {}
        for i, block in enumerate(self.blocks):
            block_training = training and i >= self.frozen_blocks
            h = block(h, training=block_training)
            if str(i) in self.attentions:
                h = self.attentions[str(i)](h, training=block_training)
            endpoints[f"block_{i}"] = widen(h)
        features = ops.sum(ops.relu(widen(h)), axis=(1, 2))
        endpoints["features"] = features
        weights = class_weights(labels, self.num_classes)
        projection = self.class_projection(weights, training=training)
        unconditional = self.linear(features, training=training)[:, 0]
        projection = ops.sum(projection * features, axis=-1)
        endpoints.update(unconditional=unconditional, projection=projection)
        return unconditional + projection, endpoints
