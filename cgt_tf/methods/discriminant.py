"""Which old classes a new one is like: linear discriminant analysis of discriminator features.

Ours. Each old class i is a Gaussian in the features h of the source's discriminator, with its own
centroid mu_i and the covariance W that all classes have within them, both of images that the source
itself generates. A new class y of mean feature h_y is like them in the proportions

    q_yi = softmax_i(-(h_y - mu_i)' (W + eps I)^-1 (h_y - mu_i) / 2).

Features are taken at unit length: sums over space grow with contrast, which real images vary more
than generated ones, and a few images of long features would make the mean of their class.
The projection term <v_i, h> of the discriminator is no substitute: it is trained to tell real from
generated images of one class, not one class from another.
"""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from keras import ops

from cgt_tf.data.image_set import ImageSet
from cgt_tf.errors import InputError
from cgt_tf.networks.gan import Gan

_BATCH = 100
_PER_CLASS = 50
# Sources of many classes: W is that of all samples, and needs no 50 of each.
_SAMPLES, _LEAST_PER_CLASS = 10_000, 8
# eps, in units of W's mean variance.
_RIDGE = 0.01


class Discriminant:
    """Old classes as Gaussians of one covariance.

    Args:
        features: [n, d], a class at least one row.
        labels: int [n], of N classes from 0.

    Attributes:
        centroids: float64 [N, d].
        precision: (W + eps I)^-1, float64 [d, d].
    """

    def __init__(self, features: np.ndarray, labels: np.ndarray):
        features = np.asarray(features, np.float64)
        counts = np.bincount(labels)
        self.centroids = np.zeros((len(counts), features.shape[1]))
        np.add.at(self.centroids, labels, features)
        self.centroids /= counts[:, None]
        within = features - self.centroids[labels]
        covariance = within.T @ within / max(len(features) - len(counts), 1)
        ridge = _RIDGE * np.trace(covariance) / len(covariance)
        # Features that never vary leave nothing to divide by.
        ridge = max(ridge, np.finfo(np.float64).tiny)
        self.precision = np.linalg.inv(covariance + ridge * np.eye(len(covariance)))

    def log_similarities(self, features: np.ndarray) -> np.ndarray:
        """log q [m, N] of features [m, d]."""
        distances = self._squared_distances(np.asarray(features, np.float64))
        logits = -distances / 2
        logits -= logits.max(axis=1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))

    def _squared_distances(self, features: np.ndarray) -> np.ndarray:
        """(h - mu_i)' (W + eps I)^-1 (h - mu_i), [m, N]."""
        # From the mean centroid, as only that keeps the difference of squares exact.
        origin = self.centroids.mean(axis=0)
        root = np.linalg.cholesky(self.precision)
        x, y = (features - origin) @ root, (self.centroids - origin) @ root
        return np.sum(x**2, axis=1)[:, None] - 2 * x @ y.T + np.sum(y**2, axis=1)


def source_discriminant(source: Gan, seed: int = 0) -> Discriminant:
    """The discriminant of a source's own samples, about 50 of each class.

    Args:
        source: With a discriminator.
        seed: Seed of the latents, which depend on nothing else.

    Raises:
        InputError: it has none.
    """
    if source.discriminator is None:
        raise InputError(
            "expected a source with a discriminator, whose features tell which old classes a new "
            "one is like (starts at the nearest classes need them, others do not), got none"
        )
    count = source.spec.num_classes
    per_class = min(_PER_CLASS, max(_SAMPLES // count, _LEAST_PER_CLASS))
    labels = np.repeat(np.arange(count, dtype=np.int32), per_class)
    return Discriminant(_features(source.discriminator, _samples(source, labels, seed)), labels)


def _samples(source: Gan, labels: np.ndarray, seed: int) -> Iterator[tf.Tensor]:
    """Images float32 [_BATCH, R, R, 3] of the labels, in their order; the last batch is shorter."""
    for start in range(0, len(labels), _BATCH):
        batch = labels[start : start + _BATCH]
        with tf.device("/CPU:0"):
            shape, key = [len(batch), source.spec.dim_z], tf.constant([seed, start], tf.int64)
            z = tf.random.stateless_normal(shape, key, alg="philox")
        yield source.generator(z, batch)[0]


def class_features(source: Gan, images: ImageSet) -> np.ndarray:
    """Mean discriminator features of each class' images, float64 [M, d]."""
    found = []
    for label in range(images.num_classes):
        rows = np.flatnonzero(images.labels == label)
        batches = (images.images[rows[i : i + _BATCH]] for i in range(0, len(rows), _BATCH))
        scaled = (batch.astype(np.float32) / 127.5 - 1 for batch in batches)
        found.append(_features(source.discriminator, scaled).mean(axis=0))
    return np.stack(found)


def _features(discriminator, batches) -> np.ndarray:
    """Features float64 [n, d], of unit length, of batches of images [b, R, R, 3] in [-1, 1]."""
    found = []
    for images in batches:
        endpoints = discriminator(images, np.zeros(len(images), np.int32))[1]
        found.append(ops.convert_to_numpy(endpoints["features"]).astype(np.float64))
    features = np.concatenate(found)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(lengths, np.finfo(np.float64).tiny)


def log_similarities(source: Gan, images: ImageSet) -> np.ndarray:
    """log q [M, N]: how much each new class is like each of the source's.

    Args:
        source: With a discriminator.
        images: The new classes'. The mean of a class is judged as one sample would be.
    """
    return source_discriminant(source).log_similarities(class_features(source, images))


def nearest_classes(source: Gan, images: ImageSet, count: int) -> list[np.ndarray]:
    """The old classes that each new class is most like.

    Args:
        source: With a discriminator.
        images: The new classes'.
        count: How many for each, at least 1; at most as many as there are.

    Returns:
        Indices of old classes, one array [count] a new class, best first.
    """
    return largest(log_similarities(source, images), count)


def largest(similarities: np.ndarray, count: int) -> list[np.ndarray]:
    """Columns of the `count` largest of each row, best first; all where there are fewer."""
    return [np.argsort(-row, kind="stable")[:count] for row in similarities]
