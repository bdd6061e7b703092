"""Multiply-adds of a TensorFlow graph, counted from the shapes of its products and convolutions."""

import collections
import math
from collections.abc import Iterator

import tensorflow as tf


def multiply_adds(function) -> dict[str, int]:
    """Multiply-adds of one call by kind, `convolutions` and `products`.

    Loops count once, so the function of a training step counts one step of one microbatch an
    update; of a condition the branch with more of them counts. Additions, and whatever else is made
    element by element, are left out, and so is what no result depends on, which TensorFlow does not
    run (the gradients of frozen kernels).

    Args:
        function: `tf.function`'s concrete function, all of whose shapes are known.
    """
    return {"convolutions": 0, "products": 0, **_of_graph(function.graph)}


def _of_graph(graph: tf.Graph) -> collections.Counter:
    total = collections.Counter()
    for op in _needed(graph):
        inner = [_of_graph(found.graph) for found in _functions(op)]
        if "If" in op.type and inner:
            inner = [max(inner, key=lambda counts: sum(counts.values()))]
        for counts in inner:
            total.update(counts)
        if op.type in _COUNTS:
            kind, count = _COUNTS[op.type]
            total[kind] += count(op)
    return total


def operations(graph: tf.Graph) -> Iterator[tf.Operation]:
    """Those that a graph's results depend on, and of the loops, branches and functions in it."""
    for op in _needed(graph):
        yield op
        for found in _functions(op):
            yield from operations(found.graph)


def _needed(graph: tf.Graph) -> set[tf.Operation]:
    found: set[tf.Operation] = set()
    left = [x.op for x in graph.outputs]
    left += [x if isinstance(x, tf.Operation) else x.op for x in graph.control_outputs]
    while left:
        op = left.pop()
        if op not in found:
            found.add(op)
            left += [x.op for x in op.inputs] + list(op.control_inputs)
    return found


def _functions(op: tf.Operation) -> list:
    """What an operation calls: bodies of loops, branches, functions."""
    names = []
    for name in ("body", "then_branch", "else_branch", "f"):
        if name in op.node_def.attr and op.node_def.attr[name].WhichOneof("value") == "func":
            names.append(op.node_def.attr[name].func.name)
    return [op.graph._get_function(name) for name in names]


def _size(tensor: tf.Tensor) -> int:
    if not tensor.shape.is_fully_defined():
        raise ValueError(f"expected known shapes, got {tensor.shape} of {tensor.name}")
    return math.prod(tensor.shape)


def _product(op: tf.Operation) -> int:
    """Of matrices, or of batches of them."""
    transposed = "transpose_a" if op.type == "MatMul" else "adj_x"
    return _size(op.outputs[0]) * op.inputs[0].shape[-2 if op.get_attr(transposed) else -1]


def _convolution(op: tf.Operation) -> int:
    """Each output meets one filter [height, width, in, out], of which it is one of `out`."""
    return _size(op.outputs[0]) * math.prod(op.inputs[1].shape[:3])


def _to_inputs(op: tf.Operation) -> int:
    return _size(op.inputs[2]) * math.prod(op.inputs[1].shape[:3])


def _to_filters(op: tf.Operation) -> int:
    _size(op.outputs[0])
    return _size(op.inputs[2]) * math.prod(op.outputs[0].shape[:3])


_COUNTS = {
    "Conv2D": ("convolutions", _convolution),
    "Conv2DBackpropInput": ("convolutions", _to_inputs),
    "Conv2DBackpropFilter": ("convolutions", _to_filters),
    "MatMul": ("products", _product),
    "BatchMatMulV2": ("products", _product),
}
