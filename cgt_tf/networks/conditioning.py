"""What the layers of a generator are conditioned on: classes, truncation, domains."""

import functools
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from cgt_tf.layers import conditional_batch_norm as norms
from cgt_tf.networks.spec import GanSpec

# How close, in steps, a truncation counts as on the grid: 0.3 / 0.02 is not 15 in float.
_ON_GRID = 1e-3


class ClassInput(NamedTuple):
    """What a method gives a generator for a class, where that is more than a label or weights.

    Attributes:
        classes: Labels int [B] or weights float [B, K]; None where `embedding` says it all.
        embedding: float [B, spec.shared_dim], in place of the class' own vector.
        kernels: float [B, T], what convolutions that a method modulates see.
    """

    classes: Any = None
    embedding: Any = None
    kernels: Any = None


def class_weights(labels, num_classes):
    """Labels int [B] as one-hot rows; class weights [B, num_classes] pass through; float32."""
    labels = ops.convert_to_tensor(labels)
    if len(labels.shape) == 2:
        return ops.cast(labels, "float32")
    return ops.one_hot(labels, num_classes)


def single_labels(classes):
    """Labels int [B] where each sample is of one class; None for weights [B, K], and for None."""
    if classes is None:
        return None
    labels = ops.convert_to_tensor(classes)
    return None if len(labels.shape) == 2 else ops.cast(labels, "int32")


def truncation_weights(truncation, grid: tuple[float, ...]):
    """Weights [1, T] or [B, T] that interpolate linearly between the levels of a grid.

    Args:
        truncation: Scalar, or [B] for rows that differ; outside the grid the nearest end is taken.
        grid: T evenly spaced, ascending levels. A value on it has all its weight on its own row.
    """
    step = (grid[-1] - grid[0]) / (len(grid) - 1)
    position = (ops.reshape(ops.cast(truncation, "float32"), (-1, 1)) - grid[0]) / step
    position = ops.clip(position, 0.0, len(grid) - 1.0)
    nearest = ops.round(position)
    position = ops.where(ops.abs(position - nearest) < _ON_GRID, nearest, position)
    rows = ops.arange(len(grid), dtype="float32")
    return ops.relu(1.0 - ops.abs(rows - position))


def base_condition(spec: GanSpec, weights, truncation) -> norms.Condition:
    """Classes, statistics and domains of a batch; what differs from layer to layer is left out.

    Args:
        spec: The generator's.
        weights: Class weights [B, K]; None for classes that are vectors alone, of one domain.
        truncation: Scalar, or [B].
    """
    rows = truncation_weights(truncation, spec.truncation_grid) if spec.truncation_grid else None
    if not spec.domain_classes:
        return norms.Condition(weights, statistics=rows)
    counts = spec.domain_classes
    membership = np.repeat(np.eye(len(counts), dtype=np.float32), counts, axis=0)
    domains = ops.matmul(weights, membership)
    if rows is None:
        return norms.Condition(weights, statistics=domains, domains=domains)
    product = ops.reshape(domains[:, :, None] * rows[:, None, :], (-1, spec.statistics))
    return norms.Condition(weights, statistics=product, domains=domains)


def source_norm(spec: GanSpec, initializer="orthogonal"):
    """Factory of the conditional norms a spec describes, called as `norm(channels, name=...)`."""
    options = {
        "initializer": initializer,
        "momentum": spec.bn_momentum,
        "epsilon": spec.bn_eps,
        "statistics": spec.statistics,
    }
    if spec.shared_dim and not spec.domain_classes:
        return functools.partial(
            norms.ProjectedBatchNorm,
            condition_dim=spec.shared_dim + spec.chunk_dim,
            sn_eps=spec.sn_eps,
            **options,
        )
    return functools.partial(
        norms.TableBatchNorm,
        num_classes=spec.rows,
        latent_dim=spec.chunk_dim,
        domains=len(spec.domain_classes),
        **options,
    )
