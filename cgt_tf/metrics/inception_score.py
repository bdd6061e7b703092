"""Inception score of a classifier's class probabilities.

Salimans et al., "Improved Techniques for Training GANs" (2016): exp of the mean Kullback-Leibler
divergence of p(class | image) from its mean over the images. It sees generated images alone, and
only means something for a classifier of the classes that are generated.
"""

import numpy as np

from cgt_tf.errors import InputError
from cgt_tf.metrics import distances
from cgt_tf.metrics.metric import HIGHER, Comparison, Found, Metric

_SPLITS = 10

# Softmax in float16 sums to 1 within this.
_SUM_TOLERANCE = 5e-3


def inception_score(probabilities: np.ndarray, splits: int = 10) -> tuple[float, float]:
    """Mean and population standard deviation of the score over `splits` consecutive chunks.

    Args:
        probabilities: Class probabilities of the generated images [n, k], k >= 2, in [0, 1], rows
            that sum to 1 (not logits). Chunks are taken in order: shuffle images sorted by class.
        splits: Number of chunks of (almost) equal size, at least 1, with n >= 2 splits. The score
            of few images is biased downwards, so numbers of one n / splits are comparable only.

    Returns:
        The mean, a float in [1, k], and the deviation, in float64. Memory stays at the size of the
        given probabilities plus blocks of 2048 rows.

    Raises:
        InputError: not 2-D, fewer than 2 images for each chunk, NaN, or no probabilities.
    """
    probabilities = distances.check_features(probabilities, "class probabilities as")
    count, width = probabilities.shape
    if width < 2:
        raise InputError(f"expected probabilities of at least 2 classes, got {width}")
    if splits < 1 or count < 2 * splits:
        raise InputError(
            f"expected splits in [1, {count // 2}], two of {count} images for each, got {splits}"
        )
    scores = []
    for split in range(splits):
        chunk = probabilities[split * count // splits : (split + 1) * count // splits]
        scores.append(_score(chunk))
    return float(np.mean(scores)), float(np.std(scores))


def _score(probabilities: np.ndarray) -> float:
    """exp(mean over rows of sum p log p, minus sum q log q for their mean q)."""
    negative_entropy, total = 0.0, np.zeros(probabilities.shape[1])
    for _, block in distances.row_blocks(probabilities):
        _check_probabilities(block)
        negative_entropy += _sum_p_log_p(block)
        total += block.sum(axis=0)
    marginal = total / len(probabilities)
    return float(np.exp(negative_entropy / len(probabilities) - _sum_p_log_p(marginal)))


def _check_probabilities(block: np.ndarray) -> None:
    sums = block.sum(axis=1)
    worst = sums[np.argmax(np.abs(sums - 1.0))]
    if block.min() < 0.0 or abs(worst - 1.0) > _SUM_TOLERANCE:
        raise InputError(
            "expected probabilities that are not negative and sum to 1 in each row, got a minimum "
            f"of {block.min():.4g} and a sum of {worst:.4g}"
        )


def _sum_p_log_p(probabilities: np.ndarray) -> float:
    positive = probabilities > 0.0
    return float(np.sum(probabilities * np.log(np.where(positive, probabilities, 1.0))))


def _compute(images: Comparison) -> Found:
    logits = images.fake.logits.astype(np.float64)
    if logits.shape[1] < 2:
        raise InputError("expected a feature network with class logits for the metric is")
    if len(logits) < 4:
        raise InputError(f"expected at least 4 scored images for the metric is, got {len(logits)}")
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    mean, deviation = inception_score(probabilities, min(_SPLITS, len(logits) // 2))
    return Found({"is": mean, "is_std": deviation})


METRIC = Metric(_compute, better={"is": HIGHER})
