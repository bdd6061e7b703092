"""What a feature network is, and the resize that belongs to the metric.

Resizing is part of a metric (Parmar et al., "On Aliased Resizing and Surprising Subtleties in GAN
Evaluation", 2022), so it happens here and nowhere else: bilinear with half-pixel centres, with
antialiasing when the image shrinks, in float32 and without rounding to uint8 in between. Numbers
from different feature networks, or from other resizings, are not comparable.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from cgt_tf.features.classifier_facts import ClassifierFacts


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureNet:
    """A network whose features the metrics are computed from.

    Attributes:
        name: The handle it was loaded from, without any folder.
        resolution: Height and width in pixels that images are resized to.
        dim: The number of features.
        fingerprint: sha256 of the file, or of the folder's files, in hexadecimal.
        function: float32 [B, resolution, resolution, 3] in [-1, 1] to features float32 [B, dim]
            and class logits float32 [B, k], or None where the network is no classifier.
        class_names: What the k logits stand for; empty where unknown.
        facts: How well it tells its own classes apart; None where it does not say.
    """

    name: str
    resolution: int
    dim: int
    fingerprint: str
    function: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor | None]]
    class_names: tuple[str, ...] = ()
    facts: ClassifierFacts | None = None

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Images float32 [B, H, W, 3] in [-1, 1], of any H and W, to features float32 [B, dim]."""
        return self.function(self.resized(images))[0]

    def resized(self, images: tf.Tensor) -> tf.Tensor:
        """Images float32 [B, H, W, 3] at the network's resolution; see the module's first lines."""
        height, width = images.shape[1:3]
        if (height, width) == (self.resolution, self.resolution):
            return images
        shrinks = max(height, width) > self.resolution
        return tf.image.resize(images, (self.resolution, self.resolution), antialias=shrinks)

    def outputs(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """uint8 [B, H, W, 3] to features float32 [B, dim] and logits float32 [B, k].

        k is 0 where the network is no classifier.
        """
        features, logits = self.function(self.resized(tf.cast(images, tf.float32) / 127.5 - 1))
        if logits is None:
            logits = tf.zeros([tf.shape(features)[0], 0])
        return features, logits
