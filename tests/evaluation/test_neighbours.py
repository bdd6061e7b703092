"""Nearest training images: direct search, what copies look like, and the picture."""

import numpy as np
import pytest

from cgt_tf.errors import InputError
from cgt_tf.evaluation import distances, memorisation, nearest_neighbours, neighbour_picture
from cgt_tf.evaluation.neighbours import _short_number


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


IMAGES = np.random.default_rng(11).integers(0, 255, (2, 32, 32, 3), np.uint8)
TRAINING = np.random.default_rng(12).integers(0, 255, (5, 32, 32, 3), np.uint8)
INDICES = np.array([[4, 0, 1], [2, 3, 4]])


def contains(picture, image):
    height, width = image.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(picture, (height, width), axis=(0, 1))
    hits = (np.moveaxis(windows, 2, -1) == image).all(axis=(2, 3, 4))
    return [tuple(hit) for hit in np.argwhere(hits)]


def test_the_picture_shows_each_image_before_its_neighbours():
    picture = neighbour_picture(IMAGES, TRAINING, INDICES, np.full((2, 3), 12.5))
    assert picture.dtype == np.uint8 and picture.shape[-1] == 3
    tops = []
    for row in range(2):
        [(top, left)] = contains(picture, IMAGES[row])
        for index in INDICES[row]:
            places = [place for place in contains(picture, TRAINING[index]) if place[0] == top]
            assert len(places) == 1 and places[0][1] > left
            left = places[0][1]
        tops.append(top)
    assert tops[0] < tops[1]
    assert (picture == 0).all(axis=-1).sum() > 6 * 3 * 7  # the numbers' ink


def test_the_picture_without_distances_is_lower_and_grey_images_are_shown():
    low = neighbour_picture(IMAGES[..., :1], TRAINING[..., :1], INDICES)
    assert low.shape[0] < neighbour_picture(IMAGES, TRAINING, INDICES, np.ones((2, 3))).shape[0]
    assert contains(low, np.repeat(IMAGES[0, ..., :1], 3, axis=-1))


@pytest.mark.parametrize("size", [1, 8, 33, 128])
def test_pictures_of_any_size_have_room_for_the_numbers(size):
    images = np.full((2, size, size, 3), 200, np.uint8)
    values = np.array([[0.0, 1.5], [123456.0, 9.87e-7]])
    picture = neighbour_picture(images, images, np.array([[0, 1], [1, 0]]), values)
    black = (picture == 0).all(axis=-1)
    assert black.any() and not black[:, -1].any() and not black[-1].any()


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (12.345, "12.3"), (1234.0, "1.2e+03"), (9.876e-7, "9.9e-07"), (0.01234, "0.0123")],
)
def test_distances_are_short(value, text):
    assert _short_number(value) == text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((IMAGES / 255, TRAINING, INDICES), "generated images as uint8 .*, got float64"),
        ((IMAGES, TRAINING[0], INDICES), r"training images as uint8 .* \[32, 32, 3\]"),
        ((IMAGES, TRAINING[:, :16], INDICES), "one size"),
        ((IMAGES, TRAINING, INDICES[:1]), r"integers \[2, k\], got int64 \[1, 3\]"),
        ((IMAGES, TRAINING, INDICES * 1.0), "got float64"),
        ((IMAGES, TRAINING, INDICES + 1), "indices of 5 training images"),
        ((IMAGES, TRAINING, INDICES - 1), "indices of 5 training images"),
        ((IMAGES, TRAINING, INDICES[:, :0]), "indices of 5 training images"),
        ((IMAGES, TRAINING, INDICES, np.ones((2, 2))), r"distances \[2, 3\], got \[2, 2\]"),
    ],
)
def test_a_picture_of_what_does_not_fit_is_an_input_error(arguments, message):
    with pytest.raises(InputError, match=message) as raised:
        neighbour_picture(*arguments)
    assert "\n" not in str(raised.value)
