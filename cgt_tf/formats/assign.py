"""Rule tables that map foreign tensors to our variables, and the audit that nothing was guessed.

An importer lists `Rule`s and what it ignores; `assign` then demands that every variable is written
once, that every source tensor is read or on the list of ignored ones with a reason, and that all
shapes agree, before it changes anything. A table works in both directions.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from keras import ops

from cgt_tf.errors import InputError
from cgt_tf.networks.weights import by_name

# How many differences an error names of each kind.
_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a foreign array becomes ours, and back.

    Attributes:
        name: For the report.
        read: Foreign array to ours.
        write: The inverse.
    """

    name: str
    read: Callable[[np.ndarray], np.ndarray]
    write: Callable[[np.ndarray], np.ndarray]


def _same(x):
    return x


SAME = Layout("as it is", _same, _same)
TRANSPOSED = Layout("transposed", np.transpose, np.transpose)
# PyTorch's convolution kernels [out, in, h, w] and ours [h, w, in, out].
OIHW = Layout("OIHW to HWIO", lambda x: x.transpose(2, 3, 1, 0), lambda x: x.transpose(3, 2, 0, 1))


def reshaped(foreign: tuple[int, ...], ours: tuple[int, ...]) -> Layout:
    """A change of shape alone."""
    return Layout(f"reshaped to {list(ours)}", lambda x: _to(x, ours), lambda x: _to(x, foreign))


def _to(x, shape):
    if x.size != int(np.prod(shape)):
        raise ValueError(f"expected {int(np.prod(shape))} numbers for shape {shape}, got {x.shape}")
    return x.reshape(shape)


@dataclasses.dataclass(frozen=True)
class Rule:
    """One variable of ours and the foreign tensor it comes from.

    Attributes:
        target: Path of the variable below its network, such as `block_0/conv1/kernel`.
        source: Name of the foreign tensor.
        layout: How one becomes the other.
    """

    target: str
    source: str
    layout: Layout = SAME


@dataclasses.dataclass(frozen=True)
class ReportLine:
    """What became of one tensor: `action` is how it was read, or why it was ignored."""

    source: str
    target: str
    shape: tuple[int, ...]
    action: str

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape)) or "scalar"
        return f"{self.source} [{shape}] -> {self.target or '-'}: {self.action}"


def assign(
    network,
    tensors: Mapping[str, np.ndarray],
    rules: list[Rule],
    ignored: Mapping[str, str],
    origin: str,
) -> list[ReportLine]:
    """Sets every variable of a network from foreign tensors; all of them, or none.

    Args:
        network: A built Keras model.
        tensors: All foreign tensors by name.
        rules: One for every variable of the network.
        ignored: Reasons by name for tensors that no rule reads.
        origin: Where the tensors come from, for messages.

    Returns:
        A line for every foreign tensor.

    Raises:
        InputError: a tensor that is missing or unexplained, a variable without a rule, or shapes
            that disagree; the message lists them. The network is then as it was.
    """
    variables = by_name(network)
    _check_complete(variables, tensors, rules, ignored, origin)
    values, lines, wrong = {}, [], []
    for rule in rules:
        given = tensors[rule.source]
        expected = tuple(variables[rule.target].shape)
        try:
            value = rule.layout.read(given)
        except ValueError:
            value = None
        if value is None or value.shape != expected:
            wrong.append(f"{rule.source} {list(given.shape)} for {rule.target} {list(expected)}")
            continue
        if not np.isfinite(value).all():
            raise InputError(f"expected finite numbers in {origin}, got NaN or inf: {rule.source}")
        values[rule.target] = value
        lines.append(ReportLine(rule.source, rule.target, given.shape, rule.layout.name))
    if wrong:
        raise InputError(f"{origin}: {len(wrong)} shapes do not fit: {_some(wrong)}")
    for name, value in values.items():
        variables[name].assign(value)
    lines += [
        ReportLine(name, "", tensors[name].shape, f"ignored: {why}")
        for name, why in ignored.items()
        if name in tensors
    ]
    return lines


def _check_complete(variables, tensors, rules, ignored, origin):
    targets = [rule.target for rule in rules]
    read = {rule.source for rule in rules}
    faults = {
        "missing": sorted(read - tensors.keys()),
        "unexplained": sorted(tensors.keys() - read - ignored.keys()),
    }
    if any(faults.values()):
        text = "; ".join(f"{len(v)} {k}: {_some(v)}" for k, v in faults.items() if v)
        raise InputError(f"{origin} does not hold the tensors of such a network: {text}")
    # A table that leaves a variable out is a defect of the importer, not of the file.
    if sorted(targets) != sorted(variables):
        difference = sorted(set(targets) ^ set(variables)) or "a variable written twice"
        raise AssertionError(f"the rule table does not fit the network: {difference}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (" ..." if len(names) > _SHOWN else "")


def collect(network, rules: list[Rule]) -> dict[str, np.ndarray]:
    """The foreign tensors that a table makes of a network's variables."""
    variables = by_name(network)
    return {
        rule.source: rule.layout.write(ops.convert_to_numpy(variables[rule.target])).copy("C")
        for rule in rules
    }
