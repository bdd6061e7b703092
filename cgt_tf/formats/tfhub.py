"""DeepMind's BigGAN and BigGAN-deep modules of TF-Hub, generators only.

`deepmind/biggan-{128,256,512}/2` and `deepmind/biggan-deep-{128,256,512}/1`. Variables are read
from the module's checkpoint and the batch-norm statistics by truncation from constants of its
graph, which is not run.
"""

import dataclasses
import hashlib
import re
from pathlib import Path

import numpy as np

from cgt_tf.errors import InputError
from cgt_tf.formats import hub_module, tfhub_rules
from cgt_tf.formats.assign import SAME, Layout, Rule, assign
from cgt_tf.formats.imagenet import imagenet_class_names
from cgt_tf.formats.imported import Imported
from cgt_tf.networks.gan import create_generator
from cgt_tf.networks.spec import GanSpec

WEIGHTS = ("ema", "raw")
_AVERAGE = re.compile(r"/ema_[^/]+$")
_NEVER_AVERAGED = re.compile(r"/(u\d|accumulat\w+)$")
# Largest difference between a table's row of truncation 1 and the accumulated statistics.
_TOLERANCE = 1e-4
_NO_DISCRIMINATOR = "TF-Hub modules hold a generator only; a discriminator must come from elsewhere"
_NO_TABLES = (
    "no tables of batch-norm statistics by truncation were recognised in the module's graph: its "
    "accumulated_* variables (truncation 1) are used for every truncation; "
    "cgt-import --standing_stats=N estimates them for another one"
)


def read_tfhub(
    handle: str,
    bn_eps: float | None = None,
    sn_eps: float | None = None,
    weights: str = "ema",
) -> Imported:
    """Reads a module's generator.

    Args:
        handle: see `hub_module.resolve`.
        bn_eps, sn_eps: epsilons to use instead of the module's (batch norm: 1e-4).
        weights: `ema`, the averaged copy that the module itself uses, or `raw`.

    Raises:
        InputError: no such module, a damaged one, or another kind of network.
    """
    if weights not in WEIGHTS:
        raise InputError(f"expected weights {' or '.join(WEIGHTS)}, got {weights!r}")
    directory = hub_module.resolve(handle)
    tensors = hub_module.read_variables(directory)
    names = _names(tensors, weights)
    spec = _spec(directory, {k: tensors[v].shape for k, v in names.items()}, bn_eps, sn_eps)
    tables = hub_module.Constants(hub_module.read_graph(directory)).stacked_tables()
    spec, statistics, note = _statistics(spec, tensors, tables)
    if spec.truncation_grid:
        tensors |= tables
    suffix = "/ema_*" if weights == "ema" else ""
    rules = [
        Rule(rule.target, names.get(rule.source, rule.source + suffix), rule.layout)
        for rule in tfhub_rules.weight_rules(spec)
    ]
    rules += statistics
    ignored = _ignored(tensors, rules, weights)
    generator = create_generator(spec, initializer="zeros")
    report = assign(generator, tensors, rules, ignored, f"the TF-Hub module {directory}")
    return Imported(
        spec,
        generator,
        class_names=imagenet_class_names() if spec.num_classes == 1000 else None,
        report=report,
        notes=[_NO_DISCRIMINATOR, note],
        provenance={"tfhub": handle, "weights": weights, "sha256": _fingerprint(directory)},
    )


def _names(tensors: dict[str, np.ndarray], weights: str) -> dict[str, str]:
    """Plain names of variables and the names of the copies to read, averaged or raw.

    Power vectors and statistics have no averaged copy.
    """
    raw = {name: name for name in tensors if not _AVERAGE.search(name)}
    if weights == "raw":
        return raw
    averaged = {_AVERAGE.sub("", name): name for name in tensors if _AVERAGE.search(name)}
    return {**{name: name for name in raw if _NEVER_AVERAGED.search(name)}, **averaged}


def _spec(directory: Path, shapes: dict, bn_eps, sn_eps) -> GanSpec:
    try:
        return tfhub_rules.infer_spec(
            shapes,
            bn_eps=1e-4 if bn_eps is None else bn_eps,
            sn_eps=1e-6 if sn_eps is None else sn_eps,
        )
    except (KeyError, IndexError) as error:
        raise InputError(
            f"expected the variables of a BigGAN or BigGAN-deep module in {directory}, "
            f"missing {error}, got {len(shapes)} variables such as {sorted(shapes)[:2]}"
        ) from error


def _statistics(
    spec: GanSpec, tensors: dict[str, np.ndarray], tables: dict[str, np.ndarray]
) -> tuple[GanSpec, list[Rule], str]:
    """Rules of the batch-norm statistics, the spec they need, and what the user should know."""
    norms = tfhub_rules.norm_scopes(spec)
    found = _match(norms, tensors, list(tables.items()))
    if not found:
        rules = [
            Rule(f"{norm}/{ours}", f"{scope}/{theirs}", _averaged(tensors, scope))
            for norm, scope, _ in norms
            for ours, theirs in _PAIRS
        ]
        return spec, rules, _NO_TABLES
    grid = hub_module.GRIDS[len(tables[found[0]])]
    targets = [f"{norm}/{ours}" for norm, _, _ in norms for ours, _ in _PAIRS]
    rules = [Rule(target, name) for target, name in zip(targets, found, strict=True)]
    note = f"batch-norm statistics for {len(grid)} truncations, {grid[0]:g} to {grid[-1]:g}"
    return dataclasses.replace(spec, truncation_grid=grid), rules, note


_PAIRS = (("moving_mean", "accumulated_mean"), ("moving_variance", "accumulated_var"))


def _match(norms, tensors, tables) -> list[str]:
    """Names of the tables of means and variances by norm; empty where they do not fit.

    They must come in network order, mean before variance, and end in the accumulated statistics.
    """
    if len(tables) != 2 * len(norms) or len({len(table) for _, table in tables}) > 1:
        return []
    expected = [(scope, theirs, c) for _, scope, c in norms for _, theirs in _PAIRS]
    for (_, table), (scope, theirs, channels) in zip(tables, expected, strict=True):
        if table.shape[1] != channels or f"{scope}/{theirs}" not in tensors:
            return []
        accumulated = _averaged(tensors, scope).read(tensors[f"{scope}/{theirs}"])
        if not np.allclose(table[-1], accumulated, rtol=_TOLERANCE, atol=_TOLERANCE):
            return []
    return [name for name, _ in tables]


def _averaged(tensors, scope) -> Layout:
    """Accumulated sums over their count."""
    count = float(tensors.get(f"{scope}/accumulation_counter", 1.0))
    if count == 1.0:
        return SAME
    return Layout(f"divided by {count:g}", lambda x: x / count, lambda x: x * count)


def _ignored(tensors, rules: list[Rule], weights: str) -> dict[str, str]:
    """Reasons for the variables that such a module has and nobody needs."""
    other = "averaged" if weights == "raw" else "raw"
    read = {rule.source for rule in rules}
    plain = {_AVERAGE.sub("", name) for name in read}
    ignored = {}
    for name in tensors.keys() - read:
        if re.search(r"/u[12]$", name):
            ignored[name] = "a further singular vector, which the module's graph does not use"
        elif name.endswith("/accumulation_counter"):
            ignored[name] = "the count of accumulated statistics"
        elif re.search(r"/accumulated_(mean|var)$", name):
            ignored[name] = "the same as the last row of the table in the graph"
        elif _AVERAGE.sub("", name) in plain:
            ignored[name] = f"the {other} copy of a variable"
    return dict(sorted(ignored.items()))


def _fingerprint(directory: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted((directory / "variables").iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()
