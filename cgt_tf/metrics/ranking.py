"""Which of several values of one score is the best."""

from collections.abc import Mapping
from typing import TypeVar

from cgt_tf.errors import InputError
from cgt_tf.metrics.metric import HIGHER
from cgt_tf.metrics.registry import directions

_Key = TypeVar("_Key")


def is_better(score: str, value: float, than: float | None) -> bool:
    """Whether a value of the score is better than another one, or the first.

    Raises:
        InputError: a score of no metric, or one whose values are not better in one direction.
    """
    if than is None:
        return True
    return value > than if _higher_is_better(score) else value < than


def ranked(score: str, values: Mapping[_Key, float]) -> list[_Key]:
    """The keys of values of the score, the best first; of equal values, in the given order.

    Raises:
        InputError: as `is_better`.
    """
    if not values:
        return []
    return sorted(values, key=values.__getitem__, reverse=_higher_is_better(score))


def _higher_is_better(score: str) -> bool:
    known = directions()
    if score not in known:
        raise InputError(f"expected a score out of {', '.join(known)}, got {score!r}")
    return known[score] == HIGHER
