"""Diversity of the generated images around each real one.

Ojha et al., "Few-shot Image Generation via Cross-domain Correspondence" (CVPR 2021), section 4.2:
the real images, few of them, are centres; each generated image belongs to the nearest; a generator
that repeats its training images has clusters of equal images and a score of 0. Theirs is the LPIPS
distance; here it is the distance of any features.
"""

import dataclasses

import numpy as np

from cgt_tf.errors import InputError
from cgt_tf.metrics import distances
from cgt_tf.metrics.diversity import mean_distance
from cgt_tf.metrics.metric import HIGHER, Comparison, Found, Metric
from cgt_tf.metrics.neighbours import nearest_neighbours


@dataclasses.dataclass(frozen=True)
class ClusterDiversity:
    """Mean distances between two different generated images of a cluster.

    Attributes:
        mean: Over the clusters of at least two images, each of one weight, as Ojha et al. do. A
            generator that fills one cluster with varied images and forgets the others does well.
        balanced: Sum over all clusters of w_c times the cluster's, with w_c = -p_c log p_c / log K,
            p_c the share of the generated images in cluster c and K the number of clusters. A
            cluster of one image or none counts 0. The weights sum to 1 where all are equally full
            and to less elsewhere, to 0 where one holds all. (Public few-shot
            code weights so, with the logarithm to base 10 for its K = 10 images.)
        filled: Share of the real images that any generated one is nearest to.
    """

    mean: float
    balanced: float
    filled: float


def intra_cluster_diversity(real: np.ndarray, fake: np.ndarray) -> ClusterDiversity:
    """Mean distance within clusters of generated images, by their nearest real image.

    Values depend on the feature network and on the numbers of real and of generated images: compare
    at equal ones, with several generated images for each real one.

    Args:
        real: Features of the real images [n, d], n >= 2; the training images, where there are few.
        fake: Features of the generated images [m, d], m >= 2.

    Returns:
        See `ClusterDiversity`; values >= 0. Time grows with n m d.

    Raises:
        InputError: not 2-D, too few samples, NaN, different widths, an overflow, or no two
            generated images with the same nearest real image.
    """
    real, fake = distances.check_pair(real, fake)
    nearest = nearest_neighbours(real, fake).indices[:, 0]
    counts = np.bincount(nearest, minlength=len(real))
    order = np.argsort(nearest, kind="stable")
    ends = np.cumsum(counts)
    within = np.zeros(len(real))
    for cluster in np.flatnonzero(counts >= 2):
        members = order[ends[cluster] - counts[cluster] : ends[cluster]]
        within[cluster] = mean_distance(fake[members])
    if not (counts >= 2).any():
        raise InputError(
            f"expected two generated samples with the same nearest of {len(real)} real ones, got "
            f"{len(fake)} with others each"
        )
    shares = counts / len(fake)
    weights = -shares * np.log(np.where(counts, shares, 1.0)) / np.log(len(real))
    return ClusterDiversity(
        mean=float(within[counts >= 2].mean()),
        balanced=float(weights @ within),
        filled=float(np.mean(counts > 0)),
    )


def _compute(images: Comparison) -> Found:
    real = images.training() if images.training else images.real.features
    result = intra_cluster_diversity(real, images.fake.features)
    return Found(
        {
            "intra_cluster": result.mean,
            "intra_cluster_balanced": result.balanced,
            "intra_cluster_filled": result.filled,
        }
    )


_NAMES = ("intra_cluster", "intra_cluster_balanced", "intra_cluster_filled")
METRIC = Metric(_compute, better=dict.fromkeys(_NAMES, HIGHER))
