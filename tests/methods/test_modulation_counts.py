"""How many numbers modulation takes: the specification's table, and layers as they are built."""

import dataclasses

import numpy as np
import pytest
from tiny_sources import TARGET, tiny_source

from cgt_tf.layers.equalised import TaskNetwork
from cgt_tf.methods import registry
from cgt_tf.methods.hyper_networks import modulated_layers
from cgt_tf.methods.modulation_counts import ModulationCounts
from cgt_tf.networks.spec import biggan_spec

RANKS = (1, 4, 8)
# Rows of the table at 32 px (ch 64) and 128 px (ch 96), for T = 64.
TABLE = {
    "convolutions": (6, 10),
    "pairs": (393_216, 7_068_672),
    "biases": (1_536, 5_952),
    "inputs": (1_536, 7_392),
    "kernels": (3_538_944, 63_618_048),
    "modulation": (786_432, 14_137_344),
    "full_heads": (51_217_920, 919_314_240),
    "constants": (4_325_376, 77_755_392),
    "outputs": ((7_680, 26_112, 50_688), (32_640, 112_704, 219_456)),
    "low_rank_heads": (
        (499_200, 1_697_280, 3_294_720),
        (2_121_600, 7_325_760, 14_264_640),
    ),
}


@pytest.mark.parametrize("column", [0, 1], ids=["32px", "128px"])
@pytest.mark.parametrize("row", TABLE)
def test_the_table(row, column):
    spec = (biggan_spec(32, 10, 64), biggan_spec(128, 1000, 96))[column]
    counts = ModulationCounts.of(spec)
    found = getattr(counts, row)
    if row == "convolutions":
        found = len(found)
    elif callable(found):
        found = tuple(map(found, RANKS))
    assert found == TABLE[row][column]


def test_the_task_network():
    counts = ModulationCounts.of(biggan_spec(32, 10))
    assert [counts.task_network(m) for m in (5, 20)] == [16_960, 17_920]
    network = TaskNetwork(5, 64)
    network.build((None, 5))
    assert size(network.variables) == 16_960


def size(variables):
    return sum(int(np.prod(v.shape)) for v in variables)


def named(layers, *endings):
    return size(v for layer in layers for v in layer.variables if v.path.endswith(endings))


@pytest.mark.parametrize(("form", "rank"), [("table", 0), ("deep", 0), ("table", 1), ("deep", 4)])
def test_layers_have_these_counts(form, rank):
    source = tiny_source(form)
    config = registry.create_config("hyper_modulation", {"rank": rank, "task_width": 6})
    method = registry.create_method(config)
    networks = method.build((source,), TARGET)
    counts = ModulationCounts.of(source.spec, 6)
    layers = modulated_layers(networks.generator)
    assert [(v.channels, v.filters) for v in layers] == list(counts.convolutions)
    assert size(networks["task_net"].variables) == counts.task_network(3)
    heads = size(v for layer in layers for v in layer.variables if "_head/" in v.path)
    assert heads == (counts.low_rank_heads(rank) if rank else counts.full_heads)
    constants = named(layers, "/standardised", "/mean", "/deviation")
    assert constants == (counts.constants if rank else counts.kernels)
    exported = modulated_layers(method.extended(networks).generator)
    if rank:
        constants = named(exported, "/standardised", "/mean", "/deviation")
        assert constants == counts.constants
        rest = size(v for layer in exported for v in layer.variables) - constants
        assert rest == 3 * counts.outputs(rank)
    method.settings.fold_kernels = True
    folded = modulated_layers(method.extended(networks).generator)
    each = counts.kernels + counts.biases
    assert size(v for layer in folded for v in layer.variables) == 3 * each
    note = method.export_note(networks)
    assert f"{each:,} numbers of kernels each" in note
    assert not rank or f"{counts.outputs(rank):,} numbers of factors each" in note


def test_widths_of_a_deep_generator_are_a_quarter():
    spec = dataclasses.replace(tiny_source("deep").spec, g_widths=(32, 16))
    assert ModulationCounts.of(spec).convolutions == ((8, 8),) * 4
