"""MIND against closed forms and a transport that is found otherwise."""

import numpy as np
import pytest

from cgt_tf.errors import InputError
from cgt_tf.metrics import distances, mind
from cgt_tf.metrics.mind import monge_distance

RNG = np.random.default_rng(0)
REAL = RNG.normal(1, 1, (30, 5))


def test_equal_sets_have_distance_zero_in_any_order():
    assert monge_distance(REAL, REAL[::-1]) == 0.0
    assert monge_distance(REAL, np.repeat(REAL, 3, axis=0)) == pytest.approx(0.0, abs=1e-12)


def test_a_shift_has_thrice_its_squared_length():
    shift = np.array([3.0, 0, 0, -4, 0])
    value = monge_distance(REAL, REAL + shift, projections=20_000)
    assert value == pytest.approx(3 * 25, rel=0.03)


def test_a_change_of_scale_has_a_closed_form():
    """Along u, the k-th smallest of (a x) is a times that of x: W^2 = (a - 1)^2 mean (u x)^2."""
    centred = REAL - REAL.mean(axis=0)
    value = monge_distance(centred, 3 * centred, projections=20_000)
    assert value == pytest.approx(3 * 4 * np.mean(np.sum(centred**2, axis=1)), rel=0.03)


def test_one_feature_and_unequal_counts_are_the_integral_over_quantiles():
    real, fake = RNG.normal(size=(7, 1)), RNG.normal(1, 2, (12, 1))
    # Both sets repeated to 84 equally likely values, whose transport is their order.
    repeated = np.sort(np.repeat(real[:, 0], 12)), np.sort(np.repeat(fake[:, 0], 7))
    expected = 3 * np.mean((repeated[0] - repeated[1]) ** 2)
    assert monge_distance(real, fake, projections=3) == pytest.approx(expected, rel=1e-12)
    assert monge_distance(fake, real, projections=3) == pytest.approx(expected, rel=1e-12)


def test_blocks_and_batches_of_directions_change_nothing(monkeypatch):
    fake = RNG.normal(0, 2, (17, 5))
    whole = monge_distance(REAL, fake, projections=50)
    monkeypatch.setattr(distances, "BLOCK", 7)
    assert monge_distance(REAL, fake, projections=50) == pytest.approx(whole, rel=1e-12)
    monkeypatch.setattr(mind, "_AT_ONCE", 8)
    assert monge_distance(REAL, fake, projections=50) == pytest.approx(whole, rel=1e-12)


def test_the_seed_draws_the_directions():
    fake = REAL + np.arange(5)
    assert monge_distance(REAL, fake, 10) == monge_distance(REAL, fake, 10, seed=0)
    assert monge_distance(REAL, fake, 10) != monge_distance(REAL, fake, 10, seed=1)


def test_no_projections_and_overflows_are_input_errors():
    with pytest.raises(InputError, match="at least 1 projection, got 0"):
        monge_distance(REAL, REAL, projections=0)
    with pytest.raises(InputError, match="of usual magnitude, got an overflow"):
        monge_distance(REAL * 1e200, REAL)
