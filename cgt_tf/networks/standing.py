"""Standing statistics: batch-norm statistics averaged over many generated batches.

Brock et al. (2019), section 3.1 and appendix: mean and variance of every norm are averaged over
forward passes in training mode, at the truncation that will be used. They replace running
statistics where a source has none, or where those of the last steps are too noisy.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from keras import ops

from cgt_tf.errors import InputError
from cgt_tf.networks.biggan import BaseGenerator
from cgt_tf.networks.spec import GanSpec

_NAMES = ("moving_mean", "moving_variance")


def estimate_statistics(
    generator: BaseGenerator, batches: Iterable[tuple], run: Callable | None = None
) -> list[np.ndarray]:
    """Averages the batch statistics of every norm; the generator is left as it was.

    Args:
        generator: All of its domains are alike in training mode.
        batches: `(z float32 [B, dim_z], labels int32 [B])`, drawn as the generator will be used;
            at least one, each of at least two samples.
        run: Calls its argument in a replica's context, where a strategy needs that; default: plain.

    Returns:
        Mean and variance [C] of each norm, in network order, the output norm last.

    Raises:
        InputError: no batch.
    """
    norms = [*generator.conditional_norms(), generator.output_norm]
    variables = [getattr(norm, name) for norm in norms for name in _NAMES]
    momenta = [norm.momentum for norm in norms]
    # Power vectors move in training mode too.
    saved = [(v, ops.convert_to_numpy(v)) for v in generator.non_trainable_variables]
    sums, count = [np.zeros(norm.channels) for norm in norms for _ in _NAMES], 0
    try:
        for norm in norms:
            norm.momentum = 0.0
        for z, labels in batches:
            (run or _plainly)(lambda z=z, labels=labels: generator(z, labels, training=True))
            # All rows are alike after a forward pass in training mode.
            rows = (ops.convert_to_numpy(v).reshape(-1, v.shape[-1])[0] for v in variables)
            sums = [s + row for s, row in zip(sums, rows, strict=True)]
            count += 1
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for variable, value in saved:
            variable.assign(value)
    if not count:
        raise InputError("expected at least one batch for standing statistics, got none")
    return [(s / count).astype(np.float32) for s in sums]


def draw_batches(
    spec: GanSpec, batches: int, batch_size: int, truncation: float, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Latents and uniform labels for `estimate_statistics`.

    At a truncation t < 1 the latents are t times a normal cut to [-2, 2], else plain normals.
    """
    rng = np.random.default_rng(seed)
    for _ in range(batches):
        z = rng.normal(size=(batch_size, spec.dim_z))
        while truncation < 1 and (outside := np.abs(z) > 2).any():
            z[outside] = rng.normal(size=outside.sum())
        labels = rng.integers(0, spec.num_classes, batch_size)
        scale = truncation if truncation < 1 else 1.0
        yield (scale * z).astype(np.float32), labels.astype(np.int32)


def assign_statistics(
    generator: BaseGenerator, values: list[np.ndarray], domain: int | None = None
) -> None:
    """Puts `estimate_statistics`' result into the rows of a generator's statistics.

    Args:
        generator: Generator whose norms are changed.
        values: Values of each norm, mean and variance [C].
        domain: The one whose rows are set, -1 for the last; None: all.
    """
    norms = [*generator.conditional_norms(), generator.output_norm]
    variables = [getattr(norm, name) for norm in norms for name in _NAMES]
    domains = max(len(generator.spec.domain_classes), 1)
    for variable, value in zip(variables, values, strict=True):
        rows = ops.convert_to_numpy(variable).reshape(domains, -1, variable.shape[-1]).copy()
        rows[slice(None) if domain is None else domain] = value
        variable.assign(rows.reshape(variable.shape))


@contextlib.contextmanager
def standing_statistics(
    generator: BaseGenerator,
    batches: Iterable[tuple],
    run: Callable | None = None,
    domain: int | None = None,
) -> Iterator[None]:
    """Inside, the generator uses standing statistics; afterwards its own. See the functions."""
    own = [(v, ops.convert_to_numpy(v)) for v in generator.non_trainable_variables]
    assign_statistics(generator, estimate_statistics(generator, batches, run), domain)
    try:
        yield
    finally:
        for variable, value in own:
            variable.assign(value)


def _plainly(function: Callable) -> None:
    function()
