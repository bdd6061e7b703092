"""How much the images of a class differ from each other: distances, and variance of features."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from cgt_tf.errors import InputError
from cgt_tf.metrics import distances
from cgt_tf.metrics.classes import ClassScores, paired_classes, scores_of, single_classes
from cgt_tf.metrics.metric import HIGHER, Comparison, Found, Metric


@dataclasses.dataclass(frozen=True)
class VarianceRatio:
    """Feature variance within the classes of real and of generated images.

    Attributes:
        real, fake: Mean over the features of the sample variance within a class.
        ratio: Fake / real. Towards 0, the class has collapsed to few images.
    """

    real: ClassScores
    fake: ClassScores
    ratio: ClassScores


def intra_class_diversity(
    features: np.ndarray, labels: np.ndarray, class_names: Sequence[str] | None = None
) -> ClassScores:
    """Mean euclidean distance between two different images of a class.

    Follows the diversity of StarGAN v2 (Choi et al., CVPR 2020) and the intra-cluster LPIPS of
    few-shot generation (Ojha et al., "Few-shot Image Generation via Cross-domain Correspondence",
    CVPR 2021), with two differences: the distance is that of the given features, and groups are the
    classes, not the nearest training images. Compare values of one feature network only.

    Args:
        features: [n, d].
        labels: Integers [n].
        class_names: As for `intra_class_fid`.

    Returns:
        Values >= 0; 0 for a class that repeats one image.

    Raises:
        InputError: features that are not finite; labels that do not fit; a class of fewer than two
            samples, which is named.
    """
    classes = single_classes(features, labels, class_names, "the")
    return scores_of(mean_distance, classes)


def intra_class_variance(
    real: np.ndarray,
    real_labels: np.ndarray,
    fake: np.ndarray,
    fake_labels: np.ndarray,
    class_names: Sequence[str] | None = None,
) -> VarianceRatio:
    """Sample variance within each class, averaged over the features: an alarm for collapse.

    Args and errors as `intra_class_fid`; also an InputError for a class whose real images have
    constant features, since the ratio to them is undefined.
    """
    classes = paired_classes(real, real_labels, fake, fake_labels, class_names)
    real_variance = scores_of(lambda real, fake: _mean_variance(real), classes)
    fake_variance = scores_of(lambda real, fake: _mean_variance(fake), classes)
    for name, variance in real_variance.per_class.items():
        if not variance > 0.0:
            raise InputError(
                f"expected real features that differ within class {name!r}, got constant features"
            )
    ratio = {
        name: fake_variance.per_class[name] / variance
        for name, variance in real_variance.per_class.items()
    }
    return VarianceRatio(real_variance, fake_variance, ClassScores.of(ratio))


def mean_distance(features: np.ndarray) -> float:
    """Mean euclidean distance between two different rows of checked features [n >= 2, d]."""

    def distance(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return np.sqrt(distances.squared_distances(left, right))

    with np.errstate(over="ignore", invalid="ignore"):  # reported below
        centre = features.mean(axis=0, dtype=np.float64)
        total = distances.sum_within(features, distance, centre)
    distances.check_finite(total)
    return total / (len(features) * (len(features) - 1))


def _mean_variance(features: np.ndarray) -> float:
    with np.errstate(over="ignore", invalid="ignore"):  # reported below
        # From the first sample, so that equal rows have variance 0 and not rounding noise.
        offset = features[0].astype(np.float64)
        mean = sum(block.sum(axis=0) for _, block in distances.row_blocks(features, offset))
        centre = offset + mean / len(features)
        scatter = sum(
            float(np.vdot(block, block)) for _, block in distances.row_blocks(features, centre)
        )
    distances.check_finite(scatter)
    return scatter / (len(features) - 1) / features.shape[1]


def _compute(images: Comparison) -> Found:
    real, real_labels, fake, fake_labels, names = images.within_classes()
    found = {
        "diversity": intra_class_diversity(fake, fake_labels, names),
        "diversity_of_real": intra_class_diversity(real, real_labels, names),
        "variance_ratio": intra_class_variance(real, real_labels, fake, fake_labels, names).ratio,
    }
    return Found(
        {name: scores.mean for name, scores in found.items()},
        {name: scores.per_class for name, scores in found.items()},
    )


METRIC = Metric(_compute, better={"diversity": HIGHER, "variance_ratio": HIGHER})
