"""Initial values of scores, residuals, biases and latent projections.

The paper says little; the settings of `methods.cgan_transfer` choose between its reading (scores
1 / N, residuals 0), old classes that are alike (ours), and the two released codes. Pseudo-classes
are in `methods.prior_controls`.
"""

import keras
import numpy as np
from keras import ops

from cgt_tf.layers.pseudo_class_batch_norm import PropagatedOffsets, ScoreMatrix
from cgt_tf.methods.cgan_transfer_settings import CGANTransferSettings
from cgt_tf.methods.discriminant import largest

_RESIDUAL_STD = 0.02


def initialize(
    part: PropagatedOffsets,
    table: np.ndarray,
    latent: np.ndarray | None,
    settings: CGANTransferSettings,
    rng: np.random.Generator,
) -> None:
    """Sets all variables of one scale, shift or embedding, but for its pseudo-classes.

    Args:
        part: Built.
        table: Offsets of the old classes [N, C].
        latent: Their latent projection [D dim, C]; of a source of several domains, the first
            domain's is taken.
        settings: Settings of the method.
        rng: Draws come from it, part by part.
    """
    if part.prior is not None:
        if not np.any(part.scores.kernel):  # Shared ones are set but once.
            part.scores.kernel.assign(initial_scores(part.scores.kernel.shape, settings, rng))
            if part.scores.use_bias:
                _assign_default_bias(part.scores.bias, part.scores.num_classes, rng)
        if part.prior.use_bias:
            _assign_default_bias(part.prior.bias, part.settings["num_pseudo_classes"], rng)
    if part.residual is not None:
        part.residual.assign(_initial_residual(part.residual.shape, table, settings, rng))
    if part.latent is not None:
        dim = part.latent.kernel.shape[0]
        part.latent.kernel.assign(latent[:dim])
        if part.latent.use_bias:
            _assign_default_bias(part.latent.bias, dim, rng)


def initial_scores(shape, settings: CGANTransferSettings, rng) -> np.ndarray:
    """Scores [N, M]: 1 / N (also where old classes alike are found later), 0, or orthogonal."""
    if not settings.trains_scores:
        return np.ones(shape, np.float32)
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


def assign_alike(
    matrices: list[ScoreMatrix], similarities: np.ndarray, settings: CGANTransferSettings, rng
) -> None:
    """Starts each new class at pseudo-classes that it is like, plus noise.

    `nearest`: at the mean of a few. `similar`: at o + P~' q_y / |q_y|, with q_y the proportions in
    which class y is like each of them, o their mean and P~ their deviations from it. Mixed by q_y
    alone, deviations of k unrelated classes would be sqrt(k) times smaller than one class' own. As
    the rows of P~ add up to 0, scores of these offsets are q_y / |q_y| and what they lack of a sum
    of 1, the same for all pseudo-classes.

    Args:
        matrices: All scores.
        similarities: Log q [M, N], see `methods.discriminant`, of the pseudo-classes; of some of
            the old classes their columns, which need not add up to 1.
        settings: Which of the two, and the noise.
        rng: Of the noise.
    """
    weights = np.zeros(similarities.shape)
    if settings.scores_init == "similar":
        weights = np.exp(similarities - similarities.max(axis=1, keepdims=True))
        weights /= np.linalg.norm(weights, axis=1, keepdims=True)
        weights += (1 - weights.sum(axis=1, keepdims=True)) / weights.shape[1]
    else:
        for row, classes in zip(
            weights, largest(similarities, settings.nearest_classes), strict=True
        ):
            row[classes] = 1 / len(classes)
    for matrix in matrices:
        noise = rng.normal(scale=settings.scores_std, size=matrix.kernel.shape)
        matrix.kernel.assign((weights.T + noise).astype(np.float32))
