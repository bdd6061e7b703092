"""Nearest training images: direct search, and what copies look like."""

import numpy as np
import pytest

from cgt_tf.errors import InputError
from cgt_tf.metrics import distances
from cgt_tf.metrics.neighbours import memorisation, nearest_neighbours


@pytest.mark.parametrize("block", [7, 2048])
@pytest.mark.parametrize("k", [1, 4, 30])
def test_neighbours_match_a_direct_search(monkeypatch, block, k):
    monkeypatch.setattr(distances, "BLOCK", block)
    rng = np.random.default_rng(0)
    training, fake = rng.normal(100, 1, (30, 4)), rng.normal(100, 1, (17, 4))
    direct = np.linalg.norm(fake[:, None] - training[None], axis=-1)
    found = nearest_neighbours(training, fake, k)
    np.testing.assert_allclose(found.distances, np.sort(direct, axis=1)[:, :k], rtol=1e-9)
    np.testing.assert_array_equal(found.indices, np.argsort(direct, axis=1)[:, :k])
    assert found.distances.dtype == np.float64 and found.indices.dtype == np.int64


def test_copies_have_distance_zero():
    training = np.random.default_rng(1).normal(1000, 1, (50, 300)).astype(np.float32)
    found = nearest_neighbours(training, training[[7, 3]])
    assert found.distances.tolist() == [[0.0], [0.0]] and found.indices.tolist() == [[7], [3]]


def test_one_image_has_a_neighbour():
    found = nearest_neighbours(np.array([[3.0, 4.0]]), np.zeros((1, 2)))
    assert found.distances.tolist() == [[5.0]] and found.indices.tolist() == [[0]]


def normal(seed, count=400, width=6):
    return np.random.default_rng(seed).normal(size=(count, width))


def test_new_images_are_as_near_as_heldout_ones():
    result = memorisation(normal(2), normal(3), normal(4))
    assert abs(result.probability_nearer - 0.5) < 0.06 and abs(result.z_score) < 3
    assert result.median == pytest.approx(result.heldout_median, rel=0.1)
    assert result.distances.shape == (400,) and result.heldout_distances.shape == (400,)
    np.testing.assert_array_equal(
        result.indices, nearest_neighbours(normal(2), normal(3)).indices[:, 0]
    )


def test_copies_are_nearer_than_heldout_images():
    training = normal(5)
    copies = training[::2] + 0.01 * normal(6, count=200)
    result = memorisation(training, copies, normal(7))
    assert result.probability_nearer > 0.95 and result.z_score > 10
    assert result.median < 0.1 * result.heldout_median
    assert memorisation(training, training, normal(7)).median == 0.0
    far = memorisation(training, normal(8) + 10, normal(7))
    assert far.probability_nearer < 0.01 and far.z_score < -10


def test_without_heldout_images_there_is_nothing_to_compare_with():
    result = memorisation(normal(9), normal(10))
    assert result.heldout_distances is None and result.probability_nearer is None
    assert result.heldout_median is None and result.z_score is None


def test_ties_count_half():
    training = np.array([[0.0], [100.0]])
    fake, heldout = np.array([[1.0], [1.0], [3.0]]), np.array([[1.0], [2.0]])
    result = memorisation(training, fake, heldout)
    # 1 against 1, 2: a half and one, twice; 3 against both: nothing.
    assert result.probability_nearer == pytest.approx(3 / 6)
    # Four of five distances are tied, which takes (4^3 - 4) / 20 = 3 from the variance's 6 / 72.
    tied = memorisation(training, np.ones((3, 1)), np.array([[1.0], [3.0]]))
    assert tied.probability_nearer == pytest.approx(0.75)
    assert tied.z_score == pytest.approx(0.25 / np.sqrt(3 / 72))
    same = memorisation(training, np.ones((3, 1)), np.ones((4, 1)))
    assert same.probability_nearer == 0.5 and same.z_score == 0.0


def test_the_z_score_has_unit_deviation_for_new_images():
    scores = [
        memorisation(normal(0, 20, 2), normal(2 * s + 1, 40, 2), normal(2 * s + 2, 30, 2)).z_score
        for s in range(300)
    ]
    assert abs(np.mean(scores)) < 0.2 and 0.85 < np.std(scores) < 1.15


GOOD = np.arange(12.0).reshape(4, 3) ** 2


@pytest.mark.parametrize("metric", [nearest_neighbours, memorisation])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (GOOD[:0], r"got shape \[0, 3\]"),
        (GOOD[0], r"got shape \[3\]"),
        (GOOD[:, :2], "one width"),
        (GOOD * np.nan, "NaN or infinity in 4 of 4"),
        (GOOD + np.inf, "NaN or infinity in 4 of 4"),
        (GOOD * 1e200, "overflow"),
    ],
)
def test_degenerate_features_are_input_errors(metric, bad, message):
    for arguments in ((bad, GOOD), (GOOD, bad)):
        with pytest.raises(InputError, match=message) as raised:
            metric(*arguments)
        assert "\n" not in str(raised.value)


def test_a_comparison_needs_two_samples_of_each():
    for arguments in ((GOOD[:1], GOOD), (GOOD, GOOD[:1]), (GOOD, GOOD, GOOD[:1])):
        with pytest.raises(InputError, match=r"n >= 2 .*got shape \[1, 3\]"):
            memorisation(*arguments)
    with pytest.raises(InputError, match="real and held-out features of one width, got 3 and 2"):
        memorisation(GOOD, GOOD, GOOD[:, :2])


@pytest.mark.parametrize("k", [0, 5])
def test_k_must_be_a_neighbour(k):
    with pytest.raises(InputError, match=rf"k in \[1, 4\] training samples, got {k}"):
        nearest_neighbours(GOOD, GOOD, k)
