"""Precision, recall, density and coverage against golden numbers and a direct computation."""

from pathlib import Path

import numpy as np
import pytest

from cgt_tf.errors import InputError
from cgt_tf.metrics import distances
from cgt_tf.metrics.prdc import prdc

GOLDENS = Path(__file__).parents[1] / "goldens"
NAMES = ("precision", "recall", "density", "coverage")


@pytest.fixture(scope="module")
def golden():
    with (
        np.load(GOLDENS / "metrics.npz") as arrays,
        np.load(GOLDENS / "metrics.npz") as more,
    ):
        return dict(arrays) | dict(more)


def direct_prdc(real, fake, k):
    def euclidean(x, y):
        return np.sqrt(((x[:, None] - y[None]) ** 2).sum(-1))

    # The sample itself comes first, at distance 0.
    real_radii, fake_radii = (np.sort(euclidean(x, x), axis=1)[:, k] for x in (real, fake))
    cross = euclidean(real, fake)
    in_real = cross < real_radii[:, None]
    return {
        "precision": in_real.any(axis=0).mean(),
        "recall": (cross < fake_radii[None]).any(axis=1).mean(),
        "density": in_real.sum(axis=0).mean() / k,
        "coverage": in_real.any(axis=1).mean(),
    }


def test_matches_the_reference_implementation(golden):
    values = prdc(golden["A"], golden["B"], k=int(golden["prdc_k"]))
    assert tuple(values) == NAMES
    for name, value in values.items():
        assert isinstance(value, float)
        assert value == pytest.approx(golden[f"prdc_{name}"], abs=1e-12), name


@pytest.mark.parametrize("k", [1, 3, 5])
def test_blocks_match_a_direct_computation(monkeypatch, k):
    monkeypatch.setattr(distances, "BLOCK", 7)
    rng = np.random.default_rng(0)
    real, fake = rng.normal(100, 1, (30, 3)), rng.normal(101.5, 1.2, (17, 3))
    expected = direct_prdc(real, fake, k)
    assert 0 < expected["precision"] < 1 and 0 < expected["recall"] < 1
    assert prdc(real, fake, k) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("block", [7, 2048])
def test_a_set_against_itself_is_perfect(monkeypatch, block):
    monkeypatch.setattr(distances, "BLOCK", block)
    real = np.random.default_rng(1).normal(50, 1, (60, 200)).astype(np.float32)
    # A ball holds k samples: its centre and the k - 1 samples nearer than the k-th.
    assert prdc(real, real.copy()) == dict.fromkeys(NAMES, 1.0)


def test_a_shift_beyond_all_balls_scores_zero():
    real = np.random.default_rng(2).normal(size=(40, 3))
    assert prdc(real, real + 100) == dict.fromkeys(NAMES, 0.0)


def test_a_collapsed_generator_is_precise_and_recalls_nothing():
    real = np.random.default_rng(3).normal(size=(40, 3)) + 20
    values = prdc(real, np.repeat(real.mean(axis=0, keepdims=True), 10, axis=0))
    assert values["precision"] == 1.0 and values["recall"] == 0.0
    assert values["density"] > 1.0 > values["coverage"]


GOOD = np.arange(36.0).reshape(12, 3) ** 2


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (GOOD[:1], r"got shape \[1, 3\]"),
        (GOOD[:0], r"got shape \[0, 3\]"),
        (GOOD[:, :2], "one width"),
        (GOOD[:5], r"expected k in \[1, 4\] for .*, got 5"),
        (np.where(GOOD > 1000, np.nan, GOOD), "NaN or infinity in 2 of 12"),
        (np.where(GOOD > 1000, np.inf, GOOD), "NaN or infinity in 2 of 12"),
        (GOOD * 1e200, "overflow"),
    ],
)
def test_degenerate_features_are_input_errors(bad, message):
    for arguments in ((bad, GOOD), (GOOD, bad)):
        with pytest.raises(InputError, match=message) as raised:
            prdc(*arguments)
        assert "\n" not in str(raised.value)


def test_real_features_that_are_all_equal_have_no_radius():
    with pytest.raises(InputError, match="differ between samples, got 12 equal rows"):
        prdc(np.ones((12, 3)), GOOD)


@pytest.mark.parametrize("k", [0, -1, 12])
def test_k_must_be_a_neighbour(k):
    with pytest.raises(InputError, match=rf"expected k in \[1, 11\] .*, got {k}"):
        prdc(GOOD, GOOD + 1, k)
