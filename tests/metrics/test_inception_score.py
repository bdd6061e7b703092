"""Inception score against golden numbers, tensorflow-gan and closed forms."""

from pathlib import Path

import numpy as np
import pytest

from cgt_tf import tfgan
from cgt_tf.errors import InputError
from cgt_tf.metrics import distances
from cgt_tf.metrics.inception_score import inception_score

GOLDEN = Path(__file__).parents[1] / "goldens" / "metrics.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def probabilities(golden):
    values = np.exp(golden["logits"] - golden["logits"].max(axis=1, keepdims=True))
    return values / values.sum(axis=1, keepdims=True)


def test_matches_the_reference_implementation(golden, probabilities):
    mean, deviation = inception_score(probabilities)
    assert isinstance(mean, float) and isinstance(deviation, float)
    assert mean == pytest.approx(golden["is_mean"], rel=1e-12)
    assert deviation == pytest.approx(golden["is_std"], rel=1e-10)


def test_one_split_matches_tensorflow_gan(golden, probabilities):
    theirs = tfgan.classifier_metrics().classifier_score_from_logits(golden["logits"])
    mean, deviation = inception_score(probabilities, splits=1)
    assert mean == pytest.approx(theirs.numpy(), rel=1e-10) and deviation == 0.0
    assert theirs.numpy() == pytest.approx(golden["is_tfgan_one_split"], rel=1e-10)


def test_blocks_and_uneven_splits_match_a_direct_computation(monkeypatch, probabilities):
    monkeypatch.setattr(distances, "BLOCK", 7)
    rows = probabilities[:100].astype(np.float32)
    scores = []
    for chunk in (rows[:33], rows[33:66], rows[66:]):
        chunk = chunk.astype(np.float64)
        divergence = np.sum(chunk * np.log(chunk / chunk.mean(axis=0)), axis=1)
        scores.append(np.exp(divergence.mean()))
    assert inception_score(rows, 3) == pytest.approx((np.mean(scores), np.std(scores)), rel=1e-6)


def test_certain_and_even_predictions_score_the_classes_they_hit():
    assert inception_score(np.eye(5)[np.arange(20) % 5], 2) == pytest.approx((5.0, 0.0))
    assert inception_score(np.full((20, 4), 0.25), 2) == pytest.approx((1.0, 0.0))
    collapsed = np.eye(5)[np.zeros(20, int)]
    assert inception_score(collapsed, 2) == pytest.approx((1.0, 0.0))


GOOD = np.eye(3)[np.arange(8) % 3]


@pytest.mark.parametrize(
    ("bad", "splits", "message"),
    [
        (GOOD[:1], 1, r"got shape \[1, 3\]"),
        (GOOD[:0], 1, r"got shape \[0, 3\]"),
        (GOOD[0], 1, r"got shape \[3\]"),
        (GOOD * np.nan, 1, "NaN or infinity in 8 of 8"),
        (GOOD[:, :1] * 0 + 1, 1, "at least 2 classes, got 1"),
        (GOOD * 2, 1, "a sum of 2"),
        (GOOD * 2 - 1 / 3, 1, "a minimum of -0.3333"),
        (np.log(GOOD + 0.1), 1, "expected probabilities"),
        (GOOD, 5, r"splits in \[1, 4\], two of 8 images for each, got 5"),
        (GOOD, 0, "got 0"),
    ],
)
def test_degenerate_input_is_an_input_error(bad, splits, message):
    with pytest.raises(InputError, match=message) as raised:
        inception_score(bad, splits)
    assert "\n" not in str(raised.value)
