"""Shares the rows of a batch among the replicas of a strategy and puts the results in order."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def share_rows(
    strategy: tf.distribute.Strategy | None, function: Callable[..., Any]
) -> Callable[..., Any]:
    """Compiles a function of batches so that each replica computes its share of the rows.

    Args:
        strategy: Any synchronous strategy, on one host or several; None is one device. Variables
            that `function` uses should have been made in its scope.
        function: Tensors [B, ...] -> tensor or tuple of tensors [B, ...], row by row.

    Returns:
        The same function for full batches: B must be known and a multiple of the replicas. Rows
        come back in order, on every host.
    """
    replicas = strategy.num_replicas_in_sync if strategy else 1
    if replicas == 1:
        return tf.function(function, autograph=False)

    def on_replica(*tensors: tf.Tensor) -> Any:
        share = tensors[0].shape[0] // replicas
        first = tf.distribute.get_replica_context().replica_id_in_sync_group * share
        parts = (tensor[first : first + share] for tensor in tensors)
        shapes = ((share, *tensor.shape[1:]) for tensor in tensors)
        return function(*map(tf.ensure_shape, parts, shapes))

    def on_all(*tensors: tf.Tensor) -> Any:
        outputs = strategy.run(on_replica, args=tensors)
        return tf.nest.map_structure(lambda value: strategy.gather(value, axis=0), outputs)

    return tf.function(on_all, autograph=False)


def rounded_up(batch_size: int, strategy: tf.distribute.Strategy | None) -> int:
    """The next size that divides among the replicas."""
    replicas = strategy.num_replicas_in_sync if strategy else 1
    return -(-batch_size // replicas) * replicas
