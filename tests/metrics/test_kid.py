"""Kernel distance against golden numbers, tensorflow-gan and a direct computation."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from cgt_tf import tfgan
from cgt_tf.errors import InputError
from cgt_tf.metrics import distances
from cgt_tf.metrics.kid import kernel_distance, kernel_distance_subsets

GOLDENS = Path(__file__).parents[1] / "goldens"


@pytest.fixture(scope="module")
def golden():
    with (
        np.load(GOLDENS / "metrics.npz") as arrays,
        np.load(GOLDENS / "metrics.npz") as more,
    ):
        return dict(arrays) | dict(more)


def kernel(x, y):
    return (x @ y.T / x.shape[1] + 1) ** 3


def direct_kernel_distance(real, fake):
    def off_diagonal_mean(x):
        values = kernel(x, x)
        return values[~np.eye(len(x), dtype=bool)].mean()

    return off_diagonal_mean(real) + off_diagonal_mean(fake) - 2 * kernel(real, fake).mean()


def test_matches_the_reference_implementation(golden):
    value = kernel_distance(golden["A"], golden["B"])
    assert isinstance(value, float)
    assert value == pytest.approx(golden["kid"], rel=1e-12)


def test_matches_tensorflow_gan(golden):
    theirs = tfgan.classifier_metrics().kernel_classifier_distance_from_activations(
        tf.constant(golden["A"]), tf.constant(golden["B"])
    )
    assert kernel_distance(golden["A"], golden["B"]) == pytest.approx(theirs.numpy(), rel=1e-10)
    assert theirs.numpy() == pytest.approx(golden["kid_tfgan"], rel=1e-10)


def test_blocks_match_a_direct_computation(monkeypatch):
    monkeypatch.setattr(distances, "BLOCK", 7)
    rng = np.random.default_rng(0)
    real, fake = rng.normal(1, 1, (30, 4)), rng.normal(0.5, 2, (17, 4))
    assert kernel_distance(real, fake) == pytest.approx(
        direct_kernel_distance(real, fake), rel=1e-12
    )


def test_a_shift_has_a_closed_form():
    """For constant features a and b in one dimension, it is k(a,a) + k(b,b) - 2 k(a,b)."""
    value = kernel_distance(np.full((3, 1), 1.0), np.full((5, 1), 2.0))
    assert value == pytest.approx(2**3 + 5**3 - 2 * 3**3)


def test_float32_features_are_accumulated_in_float64(golden):
    real, fake = (golden[key].astype(np.float32) for key in "AB")
    expected = kernel_distance(real.astype(np.float64), fake.astype(np.float64))
    assert kernel_distance(real, fake) == pytest.approx(expected, rel=1e-13)


def test_sets_of_one_distribution_have_distance_zero_within_the_error(golden):
    order = np.random.default_rng(1).permutation(len(golden["A"]))
    halves = golden["A"][order[:300]], golden["A"][order[300:]]
    result = kernel_distance_subsets(*halves, subsets=40, subset_size=100)
    assert abs(result.mean) < 3 * result.standard_error
    assert abs(kernel_distance(*halves)) < 3 * result.standard_error
    apart = kernel_distance_subsets(golden["A"], golden["B"], subsets=40, subset_size=100)
    assert apart.mean > 10 * apart.standard_error
    assert abs(apart.mean - golden["kid"]) < 3 * apart.standard_error


def test_a_set_against_itself_has_only_its_diagonal_to_show(golden):
    real = golden["A"]
    values = kernel(real, real)
    on, off = np.diag(values).mean(), values[~np.eye(len(real), dtype=bool)].mean()
    assert kernel_distance(real, real) == pytest.approx(-2 / len(real) * (on - off), rel=1e-9)


def test_subsets_are_drawn_by_the_seed_and_without_replacement(golden):
    real, fake = golden["A"], golden["B"]
    first = kernel_distance_subsets(real, fake, 5, 50, seed=3)
    assert first == kernel_distance_subsets(real, fake, 5, 50, seed=3)
    assert first != kernel_distance_subsets(real, fake, 5, 50, seed=4)
    # Subsets as large as the sets are the sets: no deviation is left.
    whole = kernel_distance_subsets(real[:50], fake[:50], 5, 50)
    assert whole.mean == pytest.approx(kernel_distance(real[:50], fake[:50]), rel=1e-12)
    assert whole.deviation == pytest.approx(0, abs=1e-12)


def test_overlapping_subsets_do_not_shrink_the_error(golden):
    few, many = (kernel_distance_subsets(golden["A"], golden["B"], n, 250) for n in (10, 80))
    assert many.standard_error == pytest.approx(many.deviation / np.sqrt(2))
    assert many.standard_error > few.standard_error / 2
    disjoint = kernel_distance_subsets(golden["A"], golden["B"], 4, 50)
    assert disjoint.standard_error == pytest.approx(disjoint.deviation / 2)


GOOD = np.arange(12.0).reshape(4, 3) ** 2


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (GOOD[:1], r"got shape \[1, 3\]"),
        (GOOD[:0], r"got shape \[0, 3\]"),
        (GOOD[:, :2], "one width"),
        (np.where(GOOD > 100, np.nan, GOOD), "NaN or infinity in 1 of 4"),
        (np.where(GOOD > 100, np.inf, GOOD), "NaN or infinity in 1 of 4"),
        (GOOD * 1e200, "overflow"),
    ],
)
def test_degenerate_features_are_input_errors(bad, message):
    for arguments in ((bad, GOOD), (GOOD, bad)):
        for options in ({}, {"subsets": 3, "subset_size": 2}):
            metric = kernel_distance_subsets if options else kernel_distance
            with pytest.raises(InputError, match=message) as raised:
                metric(*arguments, **options)
            assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subset_size": 1}, r"subset_size in \[2, 4\], got 1"),
        ({"subset_size": 5}, r"subset_size in \[2, 4\], got 5"),
        ({"subset_size": 4, "subsets": 1}, "at least 2 subsets, got 1"),
    ],
)
def test_impossible_subsets_are_input_errors(options, message):
    with pytest.raises(InputError, match=message):
        kernel_distance_subsets(GOOD, GOOD, **options)
