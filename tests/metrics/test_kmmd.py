"""Kernel MMD against golden numbers of the published code and a direct computation."""

from pathlib import Path

import numpy as np
import pytest

from cgt_tf.errors import InputError
from cgt_tf.metrics import distances
from cgt_tf.metrics.kmmd import kernel_mmd

GOLDEN = Path(__file__).parents[1] / "goldens" / "metrics.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


def direct_kernel_mmd(real, fake, sigma):
    def distances(x, y):
        return ((x[:, None] - y[None]) ** 2).sum(-1)

    scale = 2 * sigma**2 * distances(real, real).mean()

    def mean_kernel(x, y):
        return np.exp(-distances(x, y) / scale).mean()

    return np.sqrt(mean_kernel(real, real) + mean_kernel(fake, fake) - 2 * mean_kernel(real, fake))


def test_matches_the_formula_in_double(golden):
    value = kernel_mmd(golden["A"], golden["B"])
    assert value == pytest.approx(golden["kmmd_float64"], rel=1e-10)


def test_matches_the_published_code_up_to_its_float32_distances(golden):
    a, b = golden["A"], golden["B"]
    assert kernel_mmd(a, b) == pytest.approx(golden["kmmd"], rel=5e-6)
    assert kernel_mmd(b, a) == pytest.approx(golden["kmmd_swapped"], rel=5e-6)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.0])
def test_blocks_and_bandwidth_match_a_direct_computation(monkeypatch, sigma):
    monkeypatch.setattr(distances, "BLOCK", 7)
    rng = np.random.default_rng(0)
    real, fake = rng.normal(5, 1, (30, 4)), rng.normal(5.5, 2, (17, 4))
    expected = direct_kernel_mmd(real, fake, sigma)
    assert kernel_mmd(real, fake, sigma) == pytest.approx(expected, rel=1e-10)


def test_equal_sets_have_distance_zero_and_inputs_stay_as_they_were():
    real = np.random.default_rng(1).normal(size=(40, 3)) + 100
    before = real.copy()
    assert kernel_mmd(real, real) == pytest.approx(0.0, abs=1e-7)
    np.testing.assert_array_equal(real, before)


def test_a_shift_is_the_closed_form_of_two_points():
    """Real at -1 and 1, generated at 4 and 4: m = 2, so k = exp(-d^2 / 4)."""
    value = kernel_mmd(np.array([[-1.0], [1.0]]), np.array([[4.0], [4.0]]))
    expected = (1 + np.exp(-1)) / 2 + 1 - np.exp(-25 / 4) - np.exp(-9 / 4)
    assert value == pytest.approx(np.sqrt(expected), rel=1e-12)


def test_constant_generated_features_are_measurable():
    value = kernel_mmd(np.random.default_rng(2).normal(size=(40, 3)), np.full((10, 3), 50.0))
    assert 1.0 < value < np.sqrt(2)


GOOD = np.arange(12.0).reshape(4, 3) ** 2


@pytest.mark.parametrize(
    ("real", "fake", "sigma", "message"),
    [
        (np.full((4, 3), 0.1, np.float32), GOOD, 1.0, "got 4 equal rows"),
        (GOOD * 1e-200 + 0.0, GOOD, 1.0, "usual magnitude"),
        (GOOD[:1], GOOD, 1.0, r"real features .* got shape \[1, 3\]"),
        (GOOD, GOOD[:1], 1.0, r"generated features .* got shape \[1, 3\]"),
        (GOOD, GOOD[:, :2], 1.0, "one width, got 3 and 2"),
        (GOOD, GOOD * np.nan, 1.0, "NaN or infinity in 4 of 4"),
        (GOOD, GOOD[:0], 1.0, r"generated features .* got shape \[0, 3\]"),
        (GOOD, GOOD + np.inf, 1.0, "NaN or infinity in 4 of 4"),
        (GOOD, GOOD * 1e200, 1.0, "got an overflow"),
        (GOOD, GOOD, 0.0, "sigma > 0, got 0.0"),
        (GOOD, GOOD, np.nan, "sigma > 0, got nan"),
    ],
)
def test_degenerate_input_is_an_input_error(real, fake, sigma, message):
    with pytest.raises(InputError, match=message) as raised:
        kernel_mmd(real, fake, sigma)
    assert "\n" not in str(raised.value)
