"""Comparisons of imported networks with the originals, on fixed inputs."""

import dataclasses
from pathlib import Path

import numpy as np
import tensorflow as tf

from cgt_tf.errors import InputError
from cgt_tf.formats import hub_module
from cgt_tf.formats.imported import Imported

_SAMPLES = 2
# Between the levels of the tables, on a level, and where there is but one set of statistics.
_TRUNCATIONS = (1.0, 0.4, 0.73)
# What lies between a variable and the addition that ends its block, in the modules' graphs.
_PASSED = ("ReadVariableOp", "Identity", "Reshape", "Mul")
_ADDITIONS = ("Add", "AddV2", "BiasAdd")


@dataclasses.dataclass(frozen=True)
class Verification:
    """What a comparison has found.

    Attributes:
        original: What the original was, in words.
        differences: Largest |difference| by the name of each tensor compared; images last.
        tolerance: Largest difference of images that is accepted. Rounding alone makes up to some
            1e-4 in deep networks; wrong weights or statistics make 0.1 and more.
    """

    original: str
    differences: dict[str, float]
    tolerance: float

    @property
    def agrees(self) -> bool:
        # Written so that NaN fails.
        return [*self.differences.values()][-1] <= self.tolerance

    def lines(self) -> list[str]:
        """For people."""
        worst = [*self.differences.values()][-1]
        each = [f"  {name}: max |difference| {d:.3g}" for name, d in self.differences.items()]
        if self.agrees:
            verdict = f"the outputs agree: max |difference| {worst:.3g}"
        else:
            verdict = f"differs by more than --tolerance={self.tolerance:g}"
        return [f"compared with {self.original}:", *each, verdict]


def verify(
    kind: str, place: str, imported: Imported, weights: str, tolerance: float
) -> Verification:
    """Runs the original of a source next to the imported networks.

    Args:
        kind, place: The two parts of the source's handle.
        imported: What was read from it.
        weights: As given to `tfhub.read_tfhub`; a module's graph computes with `ema` only.
        tolerance: See `Verification`.

    Raises:
        InputError: a source without an original to compare with.
    """
    if kind == "tfhub":
        if weights != "ema":
            raise InputError("a TF-Hub module's own graph computes with weights ema only, got raw")
        original, differences = "the module's own graph", verify_tfhub(place, imported)
    elif kind == "pth":
        from cgt_tf.formats.torch_reference import verify_pth

        original = (
            "a forward pass in plain torch on the file's tensors, written for this check "
            "(the file holds no graph, and BigGAN-PyTorch's code is not at hand)"
        )
        differences = verify_pth(place, imported)
    else:
        raise InputError(f"expected a tfhub: or pth: source to verify, got {kind}:{place}")
    return Verification(original, dict(differences), tolerance)


def verify_tfhub(handle: str, imported: Imported) -> list[tuple[str, float]]:
    """Largest difference of each block's output and of the images, over several truncations."""
    directory = hub_module.resolve(handle)
    spec, generator = imported.spec, imported.generator
    rng = np.random.default_rng(0)
    z = rng.normal(size=(_SAMPLES, spec.dim_z)).astype(np.float32)
    labels = rng.integers(0, spec.num_classes, _SAMPLES).astype(np.int32)
    truncations = _TRUNCATIONS if spec.truncation_grid else (1.0,)
    # The module's first graph is the one that tensorflow-hub runs.
    fetches = block_outputs(hub_module.read_graphs(directory)[0], spec)
    original = _original(directory, fetches)
    worst: dict[str, float] = {}
    for truncation in truncations:
        images, endpoints = generator(z * truncation, labels, truncation=truncation)
        ours = {**{name: endpoints[name] for name in fetches}, "images": images}
        theirs = original(
            z * truncation, np.eye(spec.num_classes, dtype=np.float32)[labels], truncation
        )
        for name, value in ours.items():
            difference = float(np.abs(np.asarray(value) - theirs[name]).max())
            worst[name] = max(worst.get(name, 0.0), difference)
    return list(worst.items())


def _original(directory: Path, fetches: dict[str, str]):
    """`f(z, one_hot, truncation) -> arrays by name`, computed by the module's graph."""
    try:
        module = tf.saved_model.load(str(directory), tags=[])
        signature = module.signatures["default"]
        feeds = {
            x.name.partition(":")[0]: x.name for x in signature.inputs if x.dtype == tf.float32
        }
        inputs = [feeds[name] for name in ("z", "y", "truncation")]
        outputs = {"images": signature.outputs[0].name, **fetches}
        function = module.prune(inputs, outputs)
    except (KeyError, ValueError, tf.errors.OpError) as error:
        raise InputError(f"expected a TF-Hub module that runs in {directory}: {error}") from error

    def run(z, one_hot, truncation):
        values = function(*(tf.constant(x, tf.float32) for x in (z, one_hot, truncation)))
        return {name: value.numpy() for name, value in values.items()}

    return run


def block_outputs(graph, spec) -> dict[str, str]:
    """Names of the graph's tensors that our endpoints `block_i` correspond to, where found.

    A block ends in the addition of its last convolution and its shortcut, which is reached from
    that convolution's bias; where attention follows, in the addition behind attention's gain.
    """
    consumers: dict[str, list] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name.partition(":")[0].lstrip("^"), []).append(node)
    count = spec.num_blocks * (2 if spec.deep else 1)
    last = "conv3" if spec.deep else "conv1"
    attended = {spec.bottom_width * 2 ** (i + 1): i for i in range(spec.num_blocks)}
    stages = [attended[side] for side in spec.g_attention]
    attention = {2 * i + 1 if spec.deep else i for i in stages}
    found = {}
    for i in range(count):
        scope = f"Generator/GBlock_{i}" if i else "Generator/GBlock"
        start, additions = f"{scope}/{last}/b", 2
        if i in attention:
            start, additions = "Generator/attention/gamma", 1
        node = _follow(graph, consumers, start, additions)
        if node:
            found[f"block_{i}"] = f"{node}:0"
    return found


def _follow(graph, consumers, variable: str, additions: int) -> str | None:
    """The node behind so many additions after the EMA of a variable."""
    handles = [n.name for n in graph.node if n.op == "VarHandleOp" and _is_copy(n.name, variable)]
    reached = set(handles)
    for _ in range(additions):
        frontier, ends = set(reached), set()
        while frontier:
            following = [n for name in frontier for n in consumers.get(name, ())]
            ends |= {n.name for n in following if n.op in _ADDITIONS}
            frontier = {n.name for n in following if n.op in _PASSED}
        reached = ends
    return reached.pop() if len(reached) == 1 else None


def _is_copy(name: str, variable: str) -> bool:
    return name.removeprefix("module/").startswith(f"{variable}/ema_")
