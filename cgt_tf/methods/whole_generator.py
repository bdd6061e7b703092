"""A source's generator with other classes and nothing folded, for methods that train all of it."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np

from cgt_tf.layers.conditional_batch_norm import TableBatchNorm
from cgt_tf.networks.biggan import BaseGenerator
from cgt_tf.networks.fold import STATISTICS, copy_statistics
from cgt_tf.networks.spec import GanSpec
from cgt_tf.networks.weights import by_name, copy_weights

# Last parts of the names of variables with one row a class, and with rows a domain.
_CLASS_TABLES = ("embeddings", "scale_table", "shift_table")
_LATENTS = ("scale_latent", "shift_latent")


def whole_spec(source: GanSpec, num_classes: int) -> GanSpec:
    """The source's spec with other classes, one domain and one set of statistics."""
    return dataclasses.replace(
        source, num_classes=num_classes, d_classes=0, truncation_grid=(), domain_classes=()
    )


def generator_options(source: GanSpec, spec: GanSpec) -> dict:
    """Options of `create_generator` that give the source's layers: its norms, its spectral norms.

    A folded source has tables of offsets, and weights whose spectral norm is divided out.
    """
    if not source.domain_classes:
        return {"initializer": "zeros"}
    norm = functools.partial(
        TableBatchNorm,
        num_classes=spec.num_classes,
        latent_dim=spec.chunk_dim,
        momentum=spec.bn_momentum,
        epsilon=spec.bn_eps,
        initializer="zeros",
    )
    return {"initializer": "zeros", "norm": norm, "spectral_norm": False}


def copy_whole(
    source: BaseGenerator,
    target: BaseGenerator,
    rows: Callable[[str, np.ndarray], np.ndarray],
    truncation: float = 1.0,
) -> None:
    """Copies every variable that the source has, raw weights and power vectors included.

    Args:
        source: May hold several domains; latent projections and statistics are the first's.
        target: Target of `whole_spec`.
        rows: Makes the new classes' table [M, dim] from a variable's name and the source's table
            [N, dim].
        truncation: Truncation whose batch-norm statistics are taken.
    """
    known, new = by_name(source), by_name(target)

    def converted(name, value):
        if name.endswith(_CLASS_TABLES):
            return rows(name, value)
        return value[: new[name].shape[0]] if name.endswith(_LATENTS) else value

    # A method may add variables to the source's, with initial values of their own.
    copy_weights(
        source,
        target,
        leave=lambda name: name not in known or name.endswith(STATISTICS),
        convert=converted,
    )
    copy_statistics(source, target, truncation)


def initial_rows(
    table: np.ndarray,
    num_classes: int,
    class_init: str,
    noise: float,
    rng: np.random.Generator,
    nearest: Sequence[np.ndarray] | None = None,
) -> np.ndarray:
    """First rows of the new classes, float32 [M, dim], of one of the starts.

    Args:
        table: The old classes' [N, dim].
        num_classes: M.
        class_init: `normal`: N(0, s^2) with s the spread of the table's elements; else a mean of
            old rows plus N(0, noise^2), as BigGAN-AM starts its class embeddings.
        noise: See above.
        rng: Generator of the draws.
        nearest: For each new class, the old ones whose mean it starts at; None: all.
    """
    draws = rng.normal(size=(num_classes, table.shape[1]))
    if class_init == "normal":
        return (table.std() * draws).astype(np.float32)
    means = table.mean(axis=0)
    if nearest is not None:
        means = np.stack([table[classes].mean(axis=0) for classes in nearest])
    return (means + noise * draws).astype(np.float32)
