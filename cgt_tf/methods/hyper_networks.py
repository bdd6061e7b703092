"""Networks of Hyper-Modulation: the folded source, its modulated form, and what is exported of it.

See `methods.hyper_modulation`.
"""

import dataclasses
import functools

import numpy as np
from keras import ops

from cgt_tf.layers.equalised import TaskNetwork
from cgt_tf.layers.modulated_kernels import HyperConv2D, HyperLowRankConv2D
from cgt_tf.layers.modulation import Factors
from cgt_tf.layers.spectral import SpectralConv2D
from cgt_tf.methods.run_networks import Networks
from cgt_tf.networks.biggan import BaseGenerator
from cgt_tf.networks.extended import ExtendedGenerator
from cgt_tf.networks.fold import (
    STATISTICS,
    copy_all,
    fold_into,
    folded_generator,
    statistics_at,
)
from cgt_tf.networks.gan import Gan, create_generator
from cgt_tf.networks.spec import GanSpec
from cgt_tf.networks.weights import copy_weights, variable_name


def folded_source(source: Gan, truncation: float) -> BaseGenerator:
    """The source with its spectral norms divided out, and one set of statistics a domain.

    Args:
        source: Source of any form; it is left as it is.
        truncation: Truncation whose batch-norm statistics are taken.
    """
    folded = folded_generator([source.spec])
    fold_into(folded, [source.generator])
    teacher = create_generator(
        dataclasses.replace(folded.spec, truncation_grid=(), d_classes=0), initializer="zeros"
    )
    copy_all(folded, teacher)
    norms = (
        zip(*(_norms(generator) for generator in (folded, teacher)), strict=True)
        if folded.spec.truncation_grid
        else ()
    )
    for old, new in norms:
        domains = range(len(folded.spec.domain_classes))
        rows = [statistics_at(folded.spec, old, truncation, domain) for domain in domains]
        for name, values in zip(STATISTICS, zip(*rows, strict=True), strict=True):
            getattr(new, name).assign(np.stack(values))
    return teacher


def modulated_spec(source: GanSpec, num_classes: int, rank: int) -> GanSpec:
    """The spec of new classes: kernels, or factors of a rank above 0, for each of them.

    Args:
        source: Source of `folded_source`.
        num_classes: M.
        rank: R; 0: kernels.
    """
    return dataclasses.replace(
        source,
        num_classes=num_classes,
        table_classes=source.num_classes,
        wrapper="modulated",
        modulation_rank=rank,
    )


def create_modulated(
    source: BaseGenerator,
    spec: GanSpec,
    *,
    rank: int,
    width: int,
    identity: bool,
    standardised_bias: bool,
) -> BaseGenerator:
    """The folded source whose blocks' 3x3 convolutions have heads; it is called with (z, t).

    Args:
        source: Source of `folded_source`.
        spec: Spec of `modulated_spec`.
        rank: Rank of the heads; 0: full ones.
        width: T, of the task vectors t float32 [B, T].
        identity: See `layers.modulated_kernels`.
        standardised_bias: Whether b~ takes the place of b.
    """
    conv = functools.partial(HyperConv2D, width=width, identity=identity)
    if rank:
        conv = functools.partial(HyperLowRankConv2D, rank=rank, width=width, identity=identity)
    generator = create_generator(spec, conv=conv, initializer="zeros")
    copy_others(source, generator)
    for old, new in zip(
        modulated_layers(source, generator), modulated_layers(generator), strict=True
    ):
        new.start_from(
            ops.convert_to_tensor(old.kernel), ops.convert_to_tensor(old.bias), standardised_bias
        )
    return generator


def modulated_layers(generator: BaseGenerator, like: BaseGenerator | None = None) -> list:
    """The 3x3 convolutions of the blocks, in network order.

    Args:
        like: A generator that has modulated ones in their places, where `generator` has not.
    """
    layers = []
    for ours, block in zip(generator.blocks, (like or generator).blocks, strict=True):
        for layer, other in zip(ours.convolutions, block.convolutions, strict=True):
            if not isinstance(other, SpectralConv2D):
                layers.append(layer)
    return layers


def copy_others(source: BaseGenerator, target: BaseGenerator) -> None:
    """Copies every variable outside the modulated convolutions, by its name."""
    modulated = {variable_name(v) for layer in modulated_layers(target) for v in layer.variables}
    copy_weights(source, target, leave=modulated.__contains__)


def create_task_network(num_classes: int, width: int, noise: float, seed: int) -> TaskNetwork:
    """A task network whose classes start alike, but for N(0, noise^2) in their rows."""
    network = TaskNetwork(num_classes, width, name="task_net")
    network.build((None, num_classes))
    spread_classes(network, noise, seed)
    return network


def spread_classes(network: TaskNetwork, noise: float, seed: int) -> None:
    """Copies the first row of the table V to all classes, and adds N(0, noise^2)."""
    table = ops.convert_to_numpy(network.embeddings)
    draws = np.random.default_rng(seed).normal(size=table.shape)
    network.embeddings.assign((table[:1] + noise * draws).astype(np.float32))


def alignment(ours: dict, theirs: dict) -> dict:
    """Terms of the self-initialisation, by block: mean |ours - theirs| of the blocks' outputs.

    Args:
        ours, theirs: Feature maps by name, of which `block_0` ... count.
    """
    names = [name for name in ours if name.startswith("block_")]
    return {f"align_{name}": ops.mean(ops.abs(ours[name] - theirs[name])) for name in names}


def extended_modulated(networks: Networks, fold_kernels: bool) -> ExtendedGenerator:
    """The new classes' generator: factors where the heads have some, else kernels.

    Args:
        networks: `generator` of `create_modulated` and `task_net`.
        fold_kernels: Kernels all the same.
    """
    generator, task_network = networks.generator, networks["task_net"]
    spec, count = generator.spec, len(networks.class_names)
    if fold_kernels:
        spec = dataclasses.replace(spec, modulation_rank=0)
    folded = create_generator(spec, initializer="zeros")

    def refold():
        copy_others(generator, folded)
        t = task_network(ops.eye(count))
        for old, new in zip(modulated_layers(generator), modulated_layers(folded), strict=True):
            if not spec.modulation_rank:
                kernels, biases = old.fold(t)
                new.kernel.assign(kernels)
                new.bias.assign(biases)
                continue
            for name in ("standardised", "mean", "deviation"):
                getattr(new, name).assign(getattr(old, name))
            for name, table in zip(Factors._fields, old.factors(t), strict=True):
                getattr(new, name).assign(table)

    refold()
    return ExtendedGenerator(folded, networks.class_names, refold)


def _norms(generator: BaseGenerator) -> list:
    return [*generator.conditional_norms(), generator.output_norm]
