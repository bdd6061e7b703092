"""Diversity within the clusters of generated images, on sets whose answer is known."""

import numpy as np
import pytest

from cgt_tf.errors import InputError
from cgt_tf.metrics.intra_cluster import intra_cluster_diversity

CENTRES = np.array([[0.0, 0], [100, 0], [0, 100], [100, 100]])
# Around each centre a pair, 2, 4, 6 and 8 apart.
PAIRS = np.repeat(CENTRES, 2, axis=0) + [(0, sign * k) for k in (1, 2, 3, 4) for sign in (-1, 1)]


def test_means_of_the_distances_within_the_clusters():
    result = intra_cluster_diversity(CENTRES, PAIRS)
    assert result.mean == pytest.approx((2 + 4 + 6 + 8) / 4)
    assert result.balanced == pytest.approx(result.mean)
    assert result.filled == 1.0


def test_all_pairs_of_a_cluster_count():
    line = np.array([[0.0, 0], [1, 0], [3, 0]])  # distances 1, 3 and 2
    assert intra_cluster_diversity(CENTRES, line).mean == pytest.approx(2.0)


def test_copies_have_no_diversity():
    result = intra_cluster_diversity(CENTRES, np.repeat(CENTRES, 5, axis=0))
    assert (result.mean, result.balanced, result.filled) == (0.0, 0.0, 1.0)


def test_an_unevenly_filled_set_does_not_gain():
    """All in the most diverse cluster raises the plain mean; the balanced one falls to 0."""
    even = intra_cluster_diversity(CENTRES, PAIRS)
    one = intra_cluster_diversity(CENTRES, PAIRS[6:])
    assert one.mean == 8.0 > even.mean
    assert one.balanced == 0.0 and one.filled == 0.25


def test_balanced_weights_are_the_terms_of_the_entropy():
    fake = np.concatenate([PAIRS[:4], PAIRS[2:4], PAIRS[4:5]])  # 2, 4 and 1 of 7
    within = [2.0, 4 * 2 / 3, 0.0]  # of four points in two places 4 of 6 pairs are 4 apart
    shares = np.array([2, 4, 1]) / 7
    expected = np.sum(-shares * np.log(shares) * within) / np.log(4)
    result = intra_cluster_diversity(CENTRES, fake)
    assert result.balanced == pytest.approx(expected)
    assert result.mean == pytest.approx((2 + 8 / 3) / 2)
    assert result.filled == 0.75


def test_no_two_images_together_is_an_input_error():
    with pytest.raises(InputError, match="same nearest of 4 real ones, got 4 with others each"):
        intra_cluster_diversity(CENTRES, CENTRES + 1)
