"""Folding: a generator with its spectral norms, embeddings and similarities multiplied out.

Used when a source is loaded for transfer (spectral norm is folded once, so that pseudo-classes keep
the scale they were trained at: methods in the code that divide them again shrink the prior up to
16 times) and when a generator is exported.
"""

import dataclasses

import numpy as np
from keras import ops

from cgt_tf.layers.conditional_batch_norm import FoldedOffsets, TableBatchNorm
from cgt_tf.networks.biggan import BaseGenerator
from cgt_tf.networks.conditioning import truncation_weights
from cgt_tf.networks.gan import create_generator
from cgt_tf.networks.spec import GanSpec
from cgt_tf.networks.weights import by_name, copy_weights

STATISTICS = ("moving_mean", "moving_variance")


@dataclasses.dataclass(frozen=True)
class NormState:
    """One conditional norm, folded.

    Attributes:
        offsets: NumPy arrays of every class; with D domains the latent projections are those of
            the domains one after the other, [D dim, C].
        moving_mean, moving_variance: [D, T, C] for D domains and T levels of truncation, each 1
            where there is but one.
    """

    offsets: FoldedOffsets
    moving_mean: np.ndarray
    moving_variance: np.ndarray


def fold_norms(generator: BaseGenerator, raw: bool = False) -> list[NormState]:
    """Every conditional norm of a generator, in network order.

    With `raw` a source's spectral norms are left out, as the authors of cGANTransfer do.
    """
    embedding = generator.class_embedding
    table = None if embedding is None else embedding.table()
    options = {"raw": True} if raw else {}
    states = []
    for norm in generator.conditional_norms():
        offsets = (
            None if x is None else ops.convert_to_numpy(x) for x in norm.fold(table, **options)
        )
        states.append(NormState(FoldedOffsets(*offsets), *statistics(generator.spec, norm)))
    return states


def statistics(spec: GanSpec, norm) -> list[np.ndarray]:
    """Moving mean and variance of a norm, each [D, T, C]; see `NormState`."""
    shape = (max(len(spec.domain_classes), 1), max(len(spec.truncation_grid), 1), norm.channels)
    return [ops.convert_to_numpy(getattr(norm, name)).reshape(shape) for name in STATISTICS]


def statistics_at(spec: GanSpec, norm, truncation: float, domain: int = 0) -> list[np.ndarray]:
    """Moving mean and variance [C] of a norm at a truncation, in one domain."""
    rows = [x[domain] for x in statistics(spec, norm)]
    if not spec.truncation_grid:
        return [x[0] for x in rows]
    weights = ops.convert_to_numpy(truncation_weights(truncation, spec.truncation_grid))
    return [(weights @ x)[0] for x in rows]


def parameters_per_class(generator: BaseGenerator) -> int:
    """What each class takes in a folded generator: a row of every norm, and of an embedding.

    14,784 for BigGAN at 128x128 and 3,072 for the published CIFAR network, however many there are.
    """
    rows = 2 * sum(norm.channels for norm in generator.conditional_norms())
    return rows + (generator.spec.shared_dim if generator.spec.deep else 0)


def copy_unconditional(
    source: BaseGenerator, target: BaseGenerator, truncation: float = 1.0
) -> None:
    """Copies all that does not depend on the class, from one generator to another.

    That is the linear layer, convolutions, attention, and gain, bias and statistics of the output
    norm (statistics at a truncation and of the first domain, where `target` keeps one set).
    Spectral norms are divided out where `target` has none.
    """
    for old, new in zip(source.spectral_layers(), target.spectral_layers(), strict=True):
        new.kernel.assign(old.kernel if new.spectral_norm else old.normalized_kernel(False))
        if new.spectral_norm and old.spectral_norm:
            new.u.assign(old.u)
        if new.use_bias:
            new.bias.assign(old.bias)
    for key, attention in target.attentions.items():
        attention.gain.assign(source.attentions[key].gain)
    old, new = source.output_norm, target.output_norm
    new.gain.assign(old.gain)
    new.bias.assign(old.bias)
    if not new.statistics:
        copy_statistics(source, target, truncation)


def copy_all(source: BaseGenerator, target: BaseGenerator) -> None:
    """Copies every variable by path, but for statistics that differ in their number of rows."""
    old, new = by_name(source), by_name(target)
    copy_weights(
        source,
        target,
        leave=lambda name: name.endswith(STATISTICS) and old[name].shape != new[name].shape,
    )


def copy_statistics(source: BaseGenerator, target: BaseGenerator, truncation: float) -> None:
    """Sets the statistics of all norms, a row a domain of the target, from a truncation's."""
    pairs = zip(_all_norms(source), _all_norms(target), strict=True)
    domains = max(len(target.spec.domain_classes), 1)
    for old, new in pairs:
        rows = [statistics_at(source.spec, old, truncation, domain) for domain in range(domains)]
        for name, values in zip(STATISTICS, zip(*rows, strict=True), strict=True):
            variable = getattr(new, name)
            variable.assign(np.stack(values).reshape(variable.shape))


def _all_norms(generator: BaseGenerator) -> list:
    return [*generator.conditional_norms(), generator.output_norm]


def folded_generator(specs: list[GanSpec]) -> BaseGenerator:
    """A folded generator of the classes of all specs, domain by domain; its weights are zeros."""
    return create_generator(_folded_spec(specs), initializer="zeros")


def fold_into(folded: BaseGenerator, generators: list[BaseGenerator]) -> None:
    """Folds the generators' present weights into one that `folded_generator` made of their specs.

    Weights that do not depend on the class are taken from the last.
    """
    copy_unconditional(generators[-1], folded)
    if folded.class_embedding is not None:
        tables = [ops.convert_to_numpy(g.class_embedding.table()) for g in generators]
        folded.class_embedding.kernel.assign(np.concatenate(tables))
    values = [statistics(g.spec, g.output_norm) for g in generators]
    _assign_statistics(folded.spec, folded.output_norm, values)
    states = zip(*(fold_norms(generator) for generator in generators), strict=True)
    for norm, parts in zip(folded.conditional_norms(), states, strict=True):
        values = [(state.moving_mean, state.moving_variance) for state in parts]
        _assign_statistics(folded.spec, norm, values)
        _assign_offsets(norm, [state.offsets for state in parts])


def _assign_statistics(spec: GanSpec, norm, values: list) -> None:
    """Stacks [D, T, C] statistics; those of one level follow a source that has several."""
    levels = max(len(spec.truncation_grid), 1)
    source = next(each for each in values if each[0].shape[1] == levels)
    values = [
        each if each[0].shape[1] == levels else at_all_levels(each, source, norm.epsilon)
        for each in values
    ]
    for name, parts in zip(STATISTICS, zip(*values, strict=True), strict=True):
        getattr(norm, name).assign(np.concatenate(parts).reshape(-1, norm.channels))


def at_all_levels(own, source, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """Statistics of new classes at every truncation, from theirs at the last and a source's at all.

    What truncation does to the source's statistics is carried over: a mean shifts by as much, a
    variance changes by the same factor. That is exact in the first norm, whose input does not
    depend on the class, and close in the others. The last level is full truncation, whose latents
    training draws, so there the statistics are as they are, bit for bit.

    Args:
        own: Moving mean and variance, each [D, 1, C].
        source: The same, each [D', T, C]; its first domain is the one new classes start from.
        epsilon: Epsilon of the norm; keeps the factor of a channel that does not vary at 1.

    Returns:
        Mean and variance, each [D, T, C].
    """
    (mean, variance), (source_mean, source_variance) = own, (x[:1] for x in source)
    factor = (source_variance + epsilon) / (source_variance[:, -1:] + epsilon)
    return mean + (source_mean - source_mean[:, -1:]), variance * factor


def _folded_spec(specs: list[GanSpec]) -> GanSpec:
    counts = [count for spec in specs for count in spec.domain_classes or (spec.num_classes,)]
    grids = [spec.truncation_grid for spec in specs if spec.truncation_grid]
    return dataclasses.replace(
        specs[0],
        num_classes=sum(counts),
        domain_classes=tuple(counts),
        truncation_grid=grids[0] if grids else (),
        # BigGAN-deep's first layer sees the embedding, which no table of offsets replaces.
        shared_dim=specs[0].shared_dim if specs[0].deep else 0,
    )


def _assign_offsets(norm: TableBatchNorm, offsets: list[FoldedOffsets]) -> None:
    variables = {"scale": norm.scale_table, "shift": norm.shift_table}
    if norm.latent_dim:
        variables |= {"scale_latent": norm.scale_latent, "shift_latent": norm.shift_latent}
    for field, variable in variables.items():
        variable.assign(np.concatenate([getattr(offset, field) for offset in offsets]))
