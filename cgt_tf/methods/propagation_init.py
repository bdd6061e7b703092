"""Initial values of pseudo-classes, scores and residuals.

The paper says little; the settings of `methods.cgan_transfer` choose between its reading
(pseudo-classes as the source uses them, scores 1 / N, residuals 0), nearest old classes (ours), and
the two released codes.
"""

import keras
import numpy as np
from keras import ops

from cgt_tf.errors import InputError
from cgt_tf.layers.pseudo_class_batch_norm import PropagatedOffsets, ScoreMatrix
from cgt_tf.methods.cgan_transfer import CGANTransferSettings
from cgt_tf.networks.gan import Gan

_RESIDUAL_STD = 0.02
_BATCH = 100


def initialize(
    part: PropagatedOffsets,
    table: np.ndarray,
    latent: np.ndarray | None,
    settings: CGANTransferSettings,
    rng: np.random.Generator,
) -> None:
    """Sets all variables of one scale, shift or embedding.

    Args:
        part: built.
        table: offsets of the old classes [N, C].
        latent: their latent projection [D dim, C]; of a source of several domains, the first
            domain's is taken.
        settings: of the method.
        rng: draws come from it, part by part.
    """
    if part.prior is not None:
        part.prior.kernel.assign(table)
        if not np.any(part.scores.kernel):  # Shared ones are set but once.
            part.scores.kernel.assign(initial_scores(part.scores.kernel.shape, settings, rng))
            if part.scores.use_bias:
                _assign_default_bias(part.scores.bias, part.scores.num_classes, rng)
        if part.prior.use_bias:
            _assign_default_bias(part.prior.bias, table.shape[0], rng)
    if part.residual is not None:
        part.residual.assign(_initial_residual(part.residual.shape, table, settings, rng))
    if part.latent is not None:
        dim = part.latent.kernel.shape[0]
        part.latent.kernel.assign(latent[:dim])
        if part.latent.use_bias:
            _assign_default_bias(part.latent.bias, dim, rng)


def initial_scores(shape, settings: CGANTransferSettings, rng) -> np.ndarray:
    """Scores [N, M]: 1 / N (also where the nearest classes are found later), 0, or orthogonal."""
    if settings.scores_init == "orthogonal":
        return _orthogonal(shape, rng)
    noise = rng.normal(scale=settings.scores_std, size=shape)
    mean = 0.0 if settings.scores_init == "random" else 1 / shape[0]
    return (mean + noise).astype(np.float32)


def _initial_residual(shape, table, settings: CGANTransferSettings, rng) -> np.ndarray:
    if settings.residual_init == "zeros":
        return np.zeros(shape, np.float32)
    if settings.residual_init == "mean_old":
        return np.broadcast_to(table.mean(axis=0), shape)
    if settings.residual_init == "normal":
        return rng.normal(scale=_RESIDUAL_STD, size=shape).astype(np.float32)
    return _orthogonal(shape, rng)


def _orthogonal(shape, rng) -> np.ndarray:
    seed = int(rng.integers(2**31))
    return ops.convert_to_numpy(keras.initializers.Orthogonal(seed=seed)(shape))


def _assign_default_bias(bias, fan_in: int, rng) -> None:
    """PyTorch's default of linear layers, which the released code leaves in place."""
    limit = fan_in**-0.5
    bias.assign(rng.uniform(-limit, limit, bias.shape).astype(np.float32))


def nearest_classes(source: Gan, data, count: int) -> list[np.ndarray]:
    """The old classes that the source's discriminator finds most like each new class.

    Similarity is the projection term of the discriminator, <v_y, h(x)>, averaged over the images x
    of a new class.

    Args:
        source: with a discriminator of all its classes.
        data: the new classes' `ImageSet`.
        count: how many for each.

    Returns:
        Indices of old classes, one array [count] a new class, best first.
    """
    discriminator = source.discriminator
    if discriminator is None or discriminator.num_classes != source.spec.num_classes:
        raise InputError(
            "expected a source whose discriminator knows all its classes, to find the nearest with "
            "(other choices of scores_init or class_init need none), got "
            + ("none" if discriminator is None else f"{discriminator.num_classes} of its classes")
        )
    vectors = ops.convert_to_numpy(discriminator.class_projection.table())
    count = min(count, len(vectors))
    nearest = []
    for label in range(len(data.class_names)):
        images = data.images[data.labels == label]
        features = []
        for start in range(0, len(images), _BATCH):
            batch = images[start : start + _BATCH].astype(np.float32) / 127.5 - 1
            endpoints = discriminator(batch, np.zeros(len(batch), np.int32))[1]
            features.append(ops.convert_to_numpy(endpoints["features"]))
        similarity = np.concatenate(features).mean(axis=0) @ vectors.T
        nearest.append(np.argsort(-similarity, kind="stable")[:count])
    return nearest


def assign_nearest(
    matrices: list[ScoreMatrix], nearest: list[np.ndarray], settings: CGANTransferSettings, rng
) -> None:
    """Divides each new class' scores equally among its nearest old classes, plus noise."""
    for matrix in matrices:
        scores = rng.normal(scale=settings.scores_std, size=matrix.kernel.shape)
        for label, classes in enumerate(nearest):
            scores[classes, label] += 1 / len(classes)
        matrix.kernel.assign(scores.astype(np.float32))
