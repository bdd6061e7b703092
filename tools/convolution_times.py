"""How long the convolutions of a TensorFlow graph take alone, each with nothing beside it."""

import collections
import time

import tensorflow as tf
from multiply_counts import operations

_TYPES = ("Conv2D", "Conv2DBackpropInput", "Conv2DBackpropFilter")


class Convolutions:
    """All convolutions of one call, on random tensors of their shapes.

    Loops count once and of a condition all branches do; see `multiply_counts`.

    Args:
        function: `tf.function`'s concrete function, all of whose shapes are known.
    """

    def __init__(self, function):
        found = [op for op in operations(function.graph) if op.type in _TYPES]
        self._counts = collections.Counter(map(_kind, found))
        self._calls = {_kind(op): _call(op) for op in found}

    def milliseconds(self, repeats: int = 3) -> float:
        """Sum over all of them, each in the fastest of some repeats."""
        for call in self._calls.values():
            call()  # Traces it.
        fastest = {
            kind: min(_seconds(call) for _ in range(repeats)) for kind, call in self._calls.items()
        }
        return 1e3 * sum(count * fastest[kind] for kind, count in self._counts.items())


def _kind(op: tf.Operation) -> tuple:
    shapes = [tuple(tensor.shape) for tensor in (*op.inputs, *op.outputs)]
    return op.type, *shapes, *op.get_attr("strides"), op.get_attr("padding"), op.outputs[0].dtype


def _call(op: tf.Operation):
    """A function that runs an operation like this one."""
    values = [tf.random.normal(x.shape, dtype=op.outputs[0].dtype) for x in _operands(op)]
    options = {"strides": op.get_attr("strides"), "padding": op.get_attr("padding").decode()}
    sizes = tuple(op.outputs[0].shape)

    @tf.function
    def run(first, second):
        if op.type == "Conv2D":
            y = tf.raw_ops.Conv2D(input=first, filter=second, **options)
        elif op.type == "Conv2DBackpropInput":
            y = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=sizes, filter=first, out_backprop=second, **options
            )
        else:
            y = tf.raw_ops.Conv2DBackpropFilter(
                input=first, filter_sizes=sizes, out_backprop=second, **options
            )
        return y[0, 0, 0, 0]

    return lambda: run(*values).numpy()


def _operands(op: tf.Operation) -> list[tf.Tensor]:
    """Its images and kernels, each of rank 4."""
    return [tensor for tensor in op.inputs if tensor.shape.rank == 4]


def _seconds(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
