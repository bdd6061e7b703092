"""Inversion of images into a frozen source: the latent and class code that reconstruct each best.

Minimised for an image x over z [d] and a class code:

    mean |G(z, e) - x| + (1 / L) sum_l mean |d_l(G(z, e)) - d_l(x)| / s_l
      + 0.01 (|z|^2 / d - 1)^2 + 0.01 |delta|^2

d_l are the outputs of the source discriminator's blocks and s_l their standard deviation over
images of the source's own. e = a E + delta is a mixture of the rows of the source's class
embedding, a = softmax(logits), and an offset; sources without an embedding get the weights a of
their class tables alone. The start is the best of 32 random z and old classes.

The schedule is that of projections into StyleGAN's latents (rosinality's projector after Karras et
al., CVPR 2020): Adam, a warm-up of 5 % and a cosine ramp-down of the last 25 % of the steps, and
noise on z that fades over the first 75 %.

Every random number is a function of the seed and the image's own bytes, all arithmetic is image by
image, and every batch is filled up to one size: what becomes of an image does not depend on the
others.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from cgt_tf.data.pipeline import to_float
from cgt_tf.methods.distillation import feature_variances, level_names, trunk_features
from cgt_tf.networks.conditioning import ClassInput
from cgt_tf.networks.gan import Gan

_WARM_UP, _RAMP_DOWN, _NOISE_UNTIL = 0.05, 0.25, 0.75
_BETAS, _EPSILON = (0.9, 0.999), 1e-8
# Share of its old class that an image's mixture starts with; at 1 it would have no gradient.
_START_SHARE = 0.9
_CALIBRATION_IMAGES, _CALIBRATION_BATCH = 256, 32


@dataclasses.dataclass(frozen=True)
class InversionSettings:
    """All that decides an image's code, besides the source and the image.

    Attributes:
        steps: Adam steps.
        seed: Seed of the starts and the noise.
        levels: Blocks of the discriminator that are compared, from the image side; 0: all.
        truncation: Truncation whose batch-norm statistics the source has.
        starts: Random codes that the start is the best of.
        latent_rate, class_rate: Learning rates of z, and of logits and delta.
        noise: Standard deviation of the noise on z at first.
        feature_weight, latent_weight, offset_weight: Of the terms above.
    """

    steps: int = 150
    seed: int = 0
    levels: int = 0
    truncation: float = 1.0
    starts: int = 32
    latent_rate: float = 0.05
    class_rate: float = 0.05
    noise: float = 0.05
    feature_weight: float = 1.0
    latent_weight: float = 0.01
    offset_weight: float = 0.01


class Codes(NamedTuple):
    """What n images were inverted to; float32.

    Attributes:
        z: [n, dim_z].
        weights: Weights of the old classes, [n, K]; rows sum to 1.
        offset: Delta, [n, E]; E is 0 for sources without class embedding.
        error: Mean |G - x| over pixels and colours, range [0, 2], [n].
    """

    z: np.ndarray
    weights: np.ndarray
    offset: np.ndarray
    error: np.ndarray

    def take(self, indices) -> "Codes":
        """Those of some of the images."""
        return Codes(*(part[indices] for part in self))


def embeds(spec) -> bool:
    """Whether classes are vectors of a shared embedding, and nothing else, for all norms."""
    return bool(spec.shared_dim) and not spec.domain_classes


def class_input(source: Gan, weights, offset) -> ClassInput:
    """What the source's generator is given for mixtures [B, K] and offsets [B, E]."""
    if not embeds(source.spec):
        return ClassInput(weights)
    table = source.generator.class_embedding.table()
    return ClassInput(weights, embedding=tf.matmul(weights, table) + offset)


def image_hash(image: np.ndarray) -> str:
    """SHA-256 of a uint8 image and its shape, as hex."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image))
    return digest.hexdigest()


class Inverter:
    """Inverts batches of images.

    Args:
        source: With a discriminator; it is left as it is.
        settings: See `InversionSettings`.
        batch: Images of one forward pass; memory and speed depend on it, results do not.
    """

    def __init__(self, source: Gan, settings: InversionSettings, batch: int):
        self._source, self._settings, self.batch = source, settings, batch
        names = level_names(source.spec)
        self._levels = names[: settings.levels or len(names)]
        self._scales = self._calibrated()
        self._start = tf.function(self._compare, autograph=False)
        self._step = tf.function(self._updated, autograph=False)

    def invert(self, images: np.ndarray, on_step: Callable[[], None] = lambda: None) -> Codes:
        """Codes of images uint8 [n, R, R, 3], 1 <= n <= batch.

        Args:
            images: See above.
            on_step: Called after every step.
        """
        count, settings = len(images), self._settings
        filled = np.concatenate([images, np.repeat(images[:1], self.batch - count, axis=0)])
        draws = [self._draws(image) for image in filled]
        starts, classes, noise = (np.stack(part, axis=1) for part in zip(*draws, strict=True))
        target = to_float(tf.constant(filled))
        seen = self._features(target)
        code = self._best_start(starts, classes, target, seen)
        moments = [(tf.zeros_like(part), tf.zeros_like(part)) for part in code]
        for i in range(settings.steps):
            code, moments = self._step(code, moments, tf.constant(i), noise[i], target, seen)
            on_step()
        _, error = self._start(code, target, seen)
        z, logits, offset = code
        parts = (z, tf.nn.softmax(logits), offset, error)
        return Codes(*(part.numpy()[:count] for part in parts))

    def _draws(self, image: np.ndarray) -> tuple:
        """Starts z [S, d], their old classes [S], and the noise of every step [steps, d]."""
        settings, spec = self._settings, self._source.spec
        words = np.frombuffer(bytes.fromhex(image_hash(image)), "<u4").tolist()
        rng = np.random.default_rng([settings.seed, *words])
        starts = rng.standard_normal((settings.starts, spec.dim_z), np.float32)
        classes = rng.integers(spec.num_classes, size=settings.starts)
        return starts, classes, rng.standard_normal((settings.steps, spec.dim_z), np.float32)

    def _best_start(self, starts, classes, target, seen) -> tuple:
        """`(z [B, d], logits [B, K], offset [B, E])`, each image's best of its starts."""
        spec = self._source.spec
        gap = np.log(_START_SHARE / (1 - _START_SHARE) * max(spec.num_classes - 1, 1))
        width = spec.shared_dim if embeds(spec) else 0
        offset = tf.zeros((self.batch, width))
        logits = (gap * np.eye(spec.num_classes)[classes]).astype(np.float32)
        losses = [
            self._start((tf.constant(z), tf.constant(mix), offset), target, seen)[0]
            for z, mix in zip(starts, logits, strict=True)
        ]
        best = np.argmin(np.stack([loss.numpy() for loss in losses]), axis=0)
        own = np.arange(self.batch)
        return tf.constant(starts[best, own]), tf.constant(logits[best, own]), offset

    def _compare(self, code, target, seen) -> tuple:
        """Loss and mean |G - x| of every image, [B] each."""
        return self._losses(code, code[0], target, seen)

    def _losses(self, code, noisy, target, seen) -> tuple:
        settings = self._settings
        z, logits, offset = code
        given = class_input(self._source, tf.nn.softmax(logits), offset)
        images, _ = self._source.generator(noisy, given, truncation=settings.truncation)
        error = tf.reduce_mean(tf.abs(images - target), axis=(1, 2, 3))
        pairs = zip(self._features(images), seen, self._scales, strict=True)
        distances = [tf.reduce_mean(tf.abs(a - b), axis=(1, 2, 3)) / s for a, b, s in pairs]
        shell = tf.square(tf.reduce_mean(tf.square(z), axis=1) - 1.0)
        loss = error + settings.feature_weight * tf.add_n(distances) / len(distances)
        loss += settings.latent_weight * shell
        loss += settings.offset_weight * tf.reduce_sum(tf.square(offset), axis=1)
        return loss, error

    def _features(self, images) -> list:
        return trunk_features(self._source.discriminator, images, self._levels)

    def _updated(self, code, moments, i, noise, target, seen) -> tuple:
        """Codes and moments after Adam step `i`."""
        settings = self._settings
        done = tf.cast(i, tf.float32) / settings.steps
        fade = tf.square(tf.maximum(1.0 - done / _NOISE_UNTIL, 0.0))
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(code)
            noisy = code[0] + settings.noise * fade * noise
            loss = tf.reduce_sum(self._losses(code, noisy, target, seen)[0])
        count = tf.cast(i, tf.float32) + 1.0
        share = schedule(count / settings.steps)
        rates = (settings.latent_rate, settings.class_rate, settings.class_rate)
        updated, new_moments = [], []
        for value, gradient, (mean, square), rate in zip(
            code, tape.gradient(loss, code), moments, rates, strict=True
        ):
            if gradient is None:  # There is no offset to learn.
                gradient = tf.zeros_like(value)
            mean = _BETAS[0] * mean + (1 - _BETAS[0]) * gradient
            square = _BETAS[1] * square + (1 - _BETAS[1]) * tf.square(gradient)
            corrected = mean / (1 - _BETAS[0] ** count)
            root = tf.sqrt(square / (1 - _BETAS[1] ** count)) + _EPSILON
            updated.append(value - share * rate * corrected / root)
            new_moments.append((mean, square))
        return tuple(updated), new_moments

    def _calibrated(self) -> np.ndarray:
        """Standard deviation of each level over images of the source's own."""
        source, settings = self._source, self._settings
        rng = np.random.default_rng(settings.seed)
        images = []
        for _ in range(_CALIBRATION_IMAGES // _CALIBRATION_BATCH):
            z = rng.standard_normal((_CALIBRATION_BATCH, source.spec.dim_z), np.float32)
            labels = rng.integers(source.spec.num_classes, size=_CALIBRATION_BATCH)
            images.append(source.generator(z, labels, truncation=settings.truncation)[0].numpy())
        images = np.concatenate(images)
        return np.sqrt(feature_variances(source.discriminator, images, self._levels))


def schedule(done):
    """Share of the learning rate when a share `done` in (0, 1] of the steps is over."""
    falling = tf.minimum((1.0 - done) / _RAMP_DOWN, 1.0)
    return (0.5 - 0.5 * tf.cos(np.pi * falling)) * tf.minimum(done / _WARM_UP, 1.0)
