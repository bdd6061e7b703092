"""Which values of a score are better, by what the metrics declare."""

import pytest

from cgt_tf.errors import InputError
from cgt_tf.metrics.ranking import is_better, ranked
from cgt_tf.metrics.registry import METRICS, directions


@pytest.mark.parametrize(("score", "better", "worse"), [("kid", -0.1, 0.2), ("is", 3.0, 2.0)])
def test_the_direction_is_the_metrics_own(score, better, worse):
    assert is_better(score, better, worse) and not is_better(score, worse, better)
    assert not is_better(score, better, better)
    assert is_better(score, worse, None)
    assert ranked(score, {1: worse, 2: better}) == [2, 1]


@pytest.mark.parametrize("score", ["fid", "accuracy"])
def test_of_equal_values_the_first_stays_the_first(score):
    assert ranked(score, {"b": 1.0, "a": 1.0}) == ["b", "a"]
    assert ranked(score, {}) == []


@pytest.mark.parametrize("score", ["psnr", "kid_standard_error", "nearest", ""])
def test_a_score_without_a_direction_ranks_nothing(score):
    for rank in (lambda: is_better(score, 1.0, 2.0), lambda: ranked(score, {1: 1.0})):
        with pytest.raises(InputError, match=f"expected a score out of fid, .*, got {score!r}"):
            rank()


def test_directions_are_those_of_the_named_metrics():
    assert directions(["prdc", "fid"]) == {
        **dict.fromkeys(("precision", "recall", "density", "coverage"), "higher"),
        "fid": "lower",
    }
    assert directions(["nearest"]) == {}
    assert set(directions().values()) == {"lower", "higher"}
    assert directions() == directions(METRICS)
