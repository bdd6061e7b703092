"""All metrics by name. A new one is a file with a `METRIC` and one line here.

Nothing is imported until a metric is asked for, so that configs can be checked at once.
"""

import importlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from cgt_tf.errors import InputError

if TYPE_CHECKING:
    from cgt_tf.metrics.metric import Comparison, Found, Metric

METRICS = {
    "fid": "cgt_tf.metrics.fid",
    "kmmd": "cgt_tf.metrics.kmmd",
    "kid": "cgt_tf.metrics.kid",
    "is": "cgt_tf.metrics.inception_score",
    "prdc": "cgt_tf.metrics.prdc",
    "fid_infinity": "cgt_tf.metrics.fid_infinity",
    "intra_fid": "cgt_tf.metrics.intra_fid",
    "intra_kid": "cgt_tf.metrics.intra_kid",
    "mind": "cgt_tf.metrics.mind",
    "intra_cluster": "cgt_tf.metrics.intra_cluster",
    "fld": "cgt_tf.metrics.fld",
    "diversity": "cgt_tf.metrics.diversity",
    "accuracy": "cgt_tf.metrics.accuracy",
    "nearest": "cgt_tf.metrics.nearest",
}


def get_metric(name: str) -> "Metric":
    """Raises an InputError for a name that is not registered."""
    if name not in METRICS:
        raise InputError(f"expected a metric out of {', '.join(METRICS)}, got {name!r}")
    return importlib.import_module(METRICS[name]).METRIC


def measure(metrics: Sequence[str], images: "Comparison") -> "dict[str, Found]":
    """What each of the metrics finds, in their order.

    Raises:
        InputError: an unknown metric, too few images for one, classes that do not match, or no
            classifier where one is needed.
    """
    return {name: get_metric(name).compute(images) for name in metrics}


def directions(metrics: Iterable[str] = METRICS) -> dict[str, str]:
    """`lower` or `higher` by the name of each number of these metrics that is better that way."""
    return {
        score: direction for name in metrics for score, direction in get_metric(name).better.items()
    }
