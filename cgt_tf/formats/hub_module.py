"""TF-Hub modules of TensorFlow 1 as data: variables and constants, without running the graph."""

import functools
import re
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2

from cgt_tf import hub
from cgt_tf.errors import InputError

# The levels of truncation by how many rows a table has: 0.02 ... 1.00 and 0.00 ... 1.00.
GRIDS = {
    50: tuple(round(0.02 * i, 2) for i in range(1, 51)),
    51: tuple(round(0.02 * i, 2) for i in range(51)),
}


def resolve(handle: str) -> Path:
    """The directory of a module, downloaded (or found in tensorflow-hub's cache) if need be.

    Args:
        handle: See `hub.address`; or a directory.

    Raises:
        InputError: neither a module's directory nor a handle that can be downloaded.
    """
    if Path(handle).is_dir():
        return Path(handle)
    return hub.download(handle, "tfhub:<directory>")


def read_variables(directory: Path) -> dict[str, np.ndarray]:
    """All variables of a module by name, without a common `module/` prefix.

    Raises:
        InputError: no checkpoint there, or a damaged one.
    """
    prefix = directory / "variables" / "variables"
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        names = sorted(reader.get_variable_to_shape_map())
        tensors = {name: np.asarray(reader.get_tensor(name)) for name in names}
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(
            f"expected a TF-Hub module with a checkpoint at {prefix}: {reason}"
        ) from error
    if tensors and all(name.startswith("module/") for name in tensors):
        tensors = {name.removeprefix("module/"): value for name, value in tensors.items()}
    return tensors


def read_graphs(directory: Path) -> list[tf.compat.v1.GraphDef]:
    """The module's graphs, mostly one; some have others for training and other batch sizes.

    Raises:
        InputError: no SavedModel there, or a damaged one.
    """
    path = directory / "saved_model.pb"
    message = saved_model_pb2.SavedModel()
    try:
        message.ParseFromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise InputError(f"expected a TF-Hub module with a graph at {path}: {error}") from error
    if not message.meta_graphs:
        raise InputError(f"expected a graph in {path}, found none")
    return [meta_graph.graph_def for meta_graph in message.meta_graphs]


class Constants:
    """The part of a graph that needs neither inputs nor variables, evaluated in NumPy."""

    def __init__(self, graph: tf.compat.v1.GraphDef):
        self._nodes = {node.name: node for node in graph.node}
        self.value = functools.cache(self._sound_value)

    def tables(self) -> dict[str, np.ndarray]:
        """Constant tables [rows, C] with a row for each truncation, by name, in natural order.

        They are packed from rows, or constants that a gather or a slice reads.
        """
        names = [name for name, node in self._nodes.items() if node.op in ("Pack", "Const")]
        tables = {name: self.value(name) for name in sorted(names, key=_natural_order)}
        return {
            k: v for k, v in tables.items() if v is not None and v.ndim == 2 and len(v) in GRIDS
        }

    def _sound_value(self, tensor: str) -> np.ndarray | None:
        try:
            return self._value(tensor)
        except InputError:
            raise
        except (ValueError, TypeError, IndexError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise InputError(
                f"expected an undamaged graph in the TF-Hub module, got {tensor}: {reason}"
            ) from error

    def _value(self, tensor: str) -> np.ndarray | None:
        """A tensor such as `unstack:1`; None where it is not constant, or made by other ops."""
        name, _, output = tensor.partition(":")
        node = self._nodes.get(name)
        if node is None:
            raise InputError(f"expected a whole graph in the TF-Hub module, {name} is missing")
        if node.op == "Const":
            return tf.make_ndarray(node.attr["value"].tensor)
        if node.op not in ("Pack", "Unpack", "Identity"):
            return None
        inputs = [self.value(x) for x in node.input if not x.startswith("^")]
        if any(x is None for x in inputs):
            return None
        if node.op == "Pack":
            return np.stack(inputs, axis=node.attr["axis"].i)
        if node.op == "Unpack":
            return np.take(inputs[0], int(output or 0), axis=node.attr["axis"].i)
        return inputs[0]


def _natural_order(name: str) -> list:
    """`stack`, `stack_1`, ..., `stack_10` in this order."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
