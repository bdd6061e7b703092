"""DeepMind's BigGAN and BigGAN-deep modules of TF-Hub, generators only.

`deepmind/biggan-{128,256,512}/2` and `deepmind/biggan-deep-{128,256,512}/1`. Variables are read
from the module's checkpoint and the batch-norm statistics by truncation from constants of its
graph, which is not run.
"""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cgt_tf.errors import InputError
from cgt_tf.files import sha256
from cgt_tf.formats import hub_module, tfhub_rules
from cgt_tf.formats.assign import Rule, assign
from cgt_tf.formats.imagenet import imagenet_class_names
from cgt_tf.formats.imported import Imported
from cgt_tf.networks.gan import create_generator
from cgt_tf.networks.spec import GanSpec

WEIGHTS = ("ema", "raw")
_EMA = re.compile(r"/ema_[^/]+$")
_NEVER_EMA = re.compile(r"/(u\d|accumulat\w+)$")
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
        handle: See `hub_module.resolve`.
        bn_eps, sn_eps: Epsilons to use instead of the module's (batch norm: 1e-4).
        weights: `ema`, the EMA that the module itself uses, or `raw`.

    Raises:
        InputError: no such module, a damaged one, or another kind of network.
    """
    if weights not in WEIGHTS:
        raise InputError(f"expected weights {' or '.join(WEIGHTS)}, got {weights!r}")
    directory = hub_module.resolve(handle)
    tensors = hub_module.read_variables(directory)
    names = _names(tensors, weights)
    spec = _spec(directory, {k: tensors[v].shape for k, v in names.items()}, bn_eps, sn_eps)
    graphs = hub_module.read_graphs(directory)
    tables = [hub_module.Constants(graph).tables() for graph in graphs]
    spec, statistics, note, found = _statistics(spec, tensors, tables)
    tensors |= found
    suffix = "/ema_*" if weights == "ema" else ""
    rules = [
        Rule(rule.target, names.get(rule.source, rule.source + suffix), rule.layout)
        for rule in tfhub_rules.weight_rules(spec)
    ]
    rules += statistics
    ignored = _ignored(tensors, rules, weights)
    generator = create_generator(spec, initializer="zeros")
    # The weights and the graph, as they came; not what tensorflow-hub or a user puts beside them.
    files = [directory / "saved_model.pb", *sorted((directory / "variables").iterdir())]
    report = assign(generator, tensors, rules, ignored, f"the TF-Hub module {directory}")
    return Imported(
        spec,
        generator,
        class_names=imagenet_class_names() if spec.num_classes == 1000 else None,
        report=report,
        notes=[_NO_DISCRIMINATOR, note],
        provenance={
            "tfhub": handle,
            "weights": weights,
            "sha256": {path.relative_to(directory).as_posix(): sha256(path) for path in files},
        },
    )


def _names(tensors: dict[str, np.ndarray], weights: str) -> dict[str, str]:
    """Plain names of variables and the names of the copies to read, EMA or raw.

    Power vectors and statistics have no EMA.
    """
    raw = {name: name for name in tensors if not _EMA.search(name)}
    if weights == "raw":
        return raw
    with_ema = {_EMA.sub("", name): name for name in tensors if _EMA.search(name)}
    return {**{name: name for name in raw if _NEVER_EMA.search(name)}, **with_ema}


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


_PAIRS = (("moving_mean", "accumulated_mean"), ("moving_variance", "accumulated_var"))


def _statistics(
    spec: GanSpec, tensors: dict[str, np.ndarray], graphs: list[dict[str, np.ndarray]]
) -> tuple[GanSpec, list[Rule], str, dict[str, np.ndarray]]:
    """Rules of the batch-norm statistics, the spec they need, a note, and the tables they name.

    Args:
        spec: Without a grid of truncations.
        tensors: The module's variables.
        graphs: Constant tables by name, of each of its graphs.

    Raises:
        InputError: tables of the right shapes, none of which ends in the accumulated statistics.
    """
    norms = tfhub_rules.norm_scopes(spec)
    expected = [
        (f"{norm}/{ours}", f"{scope}/{theirs}", channels)
        for norm, scope, channels in norms
        for ours, theirs in _PAIRS
    ]
    for tables in graphs:
        # Modules were seen whose accumulated statistics are means, and some whose are sums.
        for read in (_as_they_are, _over_their_count):
            found = _match(expected, tensors, tables, read)
            if found:
                grid = hub_module.GRIDS[len(tables[found[0]])]
                rules = [Rule(e[0], name) for e, name in zip(expected, found, strict=True)]
                note = f"batch-norm statistics for {len(grid)} truncations, "
                note += f"{grid[0]:g} to {grid[-1]:g}"
                spec = dataclasses.replace(spec, truncation_grid=grid)
                return spec, rules, note, {name: tables[name] for name in found}
    widths = {channels for _, _, channels in expected}
    for tables in graphs:
        if len([t for t in tables.values() if t.shape[1] in widths]) >= len(expected):
            raise InputError(
                "expected tables of batch-norm statistics that end in the module's accumulated "
                "ones, divided by their counter or not, got others"
            )
    rules = [Rule(target, source) for target, source, _ in expected]
    return spec, rules, _NO_TABLES, {}


def _match(expected: list[tuple], tensors, tables: dict, read: Callable) -> list[str]:
    """Names of the tables of means and variances; empty where one is missing.

    Each is the first of its width, in the order they were made, that ends in what was accumulated.
    """
    found: list[str] = []
    for _, source, channels in expected:
        if source not in tensors:
            return []
        accumulated = read(tensors, source)
        rest = {name: table for name, table in tables.items() if name not in found}
        if found:
            rest = {name: t for name, t in rest.items() if len(t) == len(tables[found[0]])}
        fitting = (
            name
            for name, table in rest.items()
            if table.shape[1] == channels
            and np.allclose(table[-1], accumulated, rtol=_TOLERANCE, atol=_TOLERANCE)
        )
        name = next(fitting, None)
        if name is None:
            return []
        found.append(name)
    return found


def _as_they_are(tensors: dict[str, np.ndarray], source: str) -> np.ndarray:
    return tensors[source]


def _over_their_count(tensors: dict[str, np.ndarray], source: str) -> np.ndarray:
    counter = f"{source.rpartition('/')[0]}/accumulation_counter"
    return tensors[source] / max(float(tensors.get(counter, 1.0)), 1.0)


def _ignored(tensors, rules: list[Rule], weights: str) -> dict[str, str]:
    """Reasons for the variables that such a module has and nobody needs."""
    other = "EMA" if weights == "raw" else "raw"
    read = {rule.source for rule in rules}
    plain = {_EMA.sub("", name) for name in read}
    ignored = {}
    for name in tensors.keys() - read:
        if re.search(r"/u[12]$", name):
            ignored[name] = "a further singular vector, which the module's graph does not use"
        elif name.endswith("/accumulation_counter"):
            ignored[name] = "the count of accumulated statistics"
        elif re.search(r"/accumulated_(mean|var)$", name):
            ignored[name] = "the same as the last row of the table in the graph"
        elif _EMA.sub("", name) in plain:
            ignored[name] = f"the {other} copy of a variable"
        elif np.size(tensors[name]) <= 1 or re.search(r"/u\d*$", name):
            ignored[name] = "unknown, but no weight: a single number or a power vector"
    return dict(sorted(ignored.items()))
