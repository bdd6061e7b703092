"""What a generator learns from reconstructions of its images, and a discriminator from its source.

The reconstructions' features are computed once; in training the generator's are compared with those
of reconstructions of the same classes.
"""

import dataclasses

import numpy as np
import tensorflow as tf
from keras import ops

from cgt_tf.data.image_set import ImageSet
from cgt_tf.data.pipeline import to_float
from cgt_tf.layers.mixed import MixedLayer
from cgt_tf.methods import mmd
from cgt_tf.methods.adversarial import FAKE, REAL, Judged
from cgt_tf.methods.distillation import (
    distillation,
    feature_variances,
    level_names,
    trunk_features,
)
from cgt_tf.methods.inversion import Codes, class_input
from cgt_tf.methods.phases import Microbatch
from cgt_tf.networks.gan import Gan

# Stream of a microbatch's uniform numbers; the augmentation's are REAL and FAKE.
_RECONSTRUCTIONS = 3
_CALIBRATION_IMAGES = 256
# Members that a class must have in a batch to be compared by itself.
_LEAST_OF_A_CLASS = 8


class Reconstructions(MixedLayer):
    """Pooled features of reconstructed images, to be drawn by class. Nothing of it is trained.

    Args:
        features: float32 [n, 2 C] of each level.
        labels: int [n]; every one of 0 to num_classes - 1 is there.
        numbers: Numbers of the images in the training set, int [n].
        num_classes: Number of classes of the labels.
    """

    def __init__(self, features: list, labels, numbers, num_classes: int, **kwargs):
        super().__init__(trainable=False, **kwargs)
        order = np.argsort(labels, kind="stable")
        counts = np.bincount(labels, minlength=num_classes)
        self.features = [
            self._constant(f"level_{i}", level[order], "float32")
            for i, level in enumerate(features)
        ]
        self.numbers = self._constant("numbers", numbers[order], "int64")
        self.counts = self._constant("counts", counts, "int32")
        self.starts = self._constant("starts", np.cumsum(counts) - counts, "int32")
        self.built = True

    def _constant(self, name, value, dtype):
        weight = self.add_weight(
            name=name, shape=value.shape, dtype=dtype, initializer="zeros", trainable=False
        )
        weight.assign(value)
        return weight

    def draw(self, labels, uniforms):
        """Rows of reconstructions of some classes.

        Args:
            labels: int32 [b].
            uniforms: float32 [b] in [0, 1), which decide among those of the class.
        """
        counts = ops.take(self.counts, labels)
        chosen = ops.cast(ops.floor(uniforms * ops.cast(counts, "float32")), "int32")
        # In float32 the product may be rounded up to the count.
        return ops.take(self.starts, labels) + ops.minimum(chosen, counts - 1)

    def call(self, rows):
        """Features [b, 2 C] of each level."""
        return [ops.take(level, rows, axis=0) for level in self.features]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransferSettings:
    """Weights and kinds of the two terms.

    Attributes:
        lambda_g, lambda_d: Weights.
        source_discriminator: Whether the discrepancy is taken in the source discriminator's
            features of images instead of in the generators' own.
        kappa: How much more a pair of one class counts, see `mmd.mmd2`.
        per_class: Whether classes with enough members in the batch are compared by themselves.
        distil_logit: Whether the label-free logit is a level as well.
        decay_from, decay_steps: Step of the run, and steps over which lambda_g falls to 0; 0
            steps: it stays.
    """

    lambda_g: float
    lambda_d: float
    source_discriminator: bool = False
    kappa: float = 0.0
    per_class: bool = False
    distil_logit: bool = False
    decay_from: int = 0
    decay_steps: int = 0


class FeatureTransfer:
    """Both terms of a run, for `Adversarial`.

    Args:
        source: Frozen, with a discriminator.
        settings: See `TransferSettings`.
    """

    def __init__(self, source: Gan, settings: TransferSettings):
        self._source, self._settings = source, settings
        self._distilled = level_names(source.spec, settings.distil_logit)
        self._variances = None

    def calibrate(self, data: ImageSet) -> None:
        """Takes the variances that distances are measured in from up to 256 of the images."""
        chosen = np.linspace(0, len(data) - 1, min(_CALIBRATION_IMAGES, len(data)))
        images = to_float(data.images[chosen.round().astype(int)]).numpy()
        self._variances = feature_variances(self._source.discriminator, images, self._distilled)

    def reconstruct(self, codes: Codes, truncation: float, batch: int) -> tuple:
        """Images float32 [n, R, R, 3] of the codes, and their pooled features, level by level."""

        @tf.function(autograph=False, reduce_retracing=True)
        def one(z, weights, offset):
            given = class_input(self._source, weights, offset)
            generated = self._source.generator(z, given, truncation=truncation)
            return generated[0], self._features(self._source.discriminator, generated)

        parts = []
        for start in range(0, len(codes.z), batch):
            part = codes.take(slice(start, start + batch))
            images, features = one(*(tf.constant(x) for x in part[:3]))
            parts.append((images.numpy(), [level.numpy() for level in features]))
        images, features = zip(*parts, strict=True)
        levels = [np.concatenate(level) for level in zip(*features, strict=True)]
        return np.concatenate(images), levels

    def _features(self, source_discriminator, generated) -> list:
        """Pooled features of what a generator returned, in which discrepancies are taken."""
        images, endpoints = generated
        if self._settings.source_discriminator:
            names = level_names(self._source.spec)
            maps = trunk_features(source_discriminator, images, names)
        else:
            blocks = range(len(self._source.generator.blocks))
            maps = [endpoints[f"block_{i}"] for i in blocks]
        return [mmd.pooled(feature_map) for feature_map in maps]

    def generator_terms(self, p: Microbatch, judged: Judged) -> dict:
        """lambda_g times the mean over levels of the discrepancy from reconstructions."""
        settings = self._settings
        if not settings.lambda_g:
            return {}
        teacher = p.networks.teachers["reconstructions"]
        uniforms = p.draws.uniforms(_RECONSTRUCTIONS, 1)[:, 0]
        theirs = teacher(teacher.draw(judged.labels, uniforms))
        ours = self._features(p.networks.teachers["source_discriminator"], judged.generated)
        labels = judged.labels
        groups = mmd.groups_of(labels, _LEAST_OF_A_CLASS) if settings.per_class else None
        values = [
            mmd.mmd2(a, b, labels, labels, kappa=settings.kappa, groups=groups)
            for a, b in zip(theirs, ours, strict=True)
        ]
        weight = settings.lambda_g * self._remaining(p.step)
        return {"mmd": weight * tf.add_n(values) / len(values)}

    def _remaining(self, step):
        settings = self._settings
        if not settings.decay_steps:
            return 1.0
        done = tf.cast(step - settings.decay_from, tf.float32) / settings.decay_steps
        return tf.clip_by_value(1.0 - done, 0.0, 1.0)

    def discriminator_terms(self, p: Microbatch, judged: Judged) -> dict:
        """lambda_d times the distance from the source's features, of both kinds of images."""
        if not self._settings.lambda_d:
            return {}
        # Draws are functions of the microbatch: these are the images that the discriminator saw.
        images = [p.augment(p.images, REAL), p.augment(judged.generated[0], FAKE)]
        teacher = p.networks.teachers["source_discriminator"]
        theirs = trunk_features(teacher, tf.concat(images, axis=0), self._distilled)
        ours = [judged.judged[1][name] for name in self._distilled]
        total = distillation(theirs, ours, self._variances)
        return {"distillation": self._settings.lambda_d * total}
