"""The weights of a SavedModel: stored in fewer bits where asked for, computed with in float32."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf

from cgt_tf.errors import InputError
from cgt_tf.networks.extended import ExtendedGenerator
from cgt_tf.networks.fold import STATISTICS

PRECISIONS = ("float32", "float16", "bfloat16")


class StoredWeights:
    """The variables that a SavedModel holds, and a generator that computes with them.

    Kernels and tables are stored in the precision; vectors and batch-norm statistics, which are few
    and span more magnitudes, in float32. A call casts what it reads to float32.

    Args:
        extended: The generator. Variables that stay in float32 are held, not copied.
        precision: Of `PRECISIONS`.

    Attributes:
        precision: As given.
        variables: tf.Variables, all that a call reads.

    Raises:
        InputError: another precision, or a weight that is not finite in it.
    """

    def __init__(self, extended: ExtendedGenerator, precision: str = "float32"):
        if precision not in PRECISIONS:
            raise InputError(f"expected a precision of {', '.join(PRECISIONS)}, got {precision!r}")
        self.precision = precision
        self.variables, self._narrow = [], []
        for variable in extended.read_variables():
            stored = variable.value
            if precision != "float32" and _may_be_narrow(variable):
                stored = _narrowed(variable, precision)
                self._narrow.append((variable, stored))
            self.variables.append(stored)

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """While the block runs, or is traced, the generator computes with the stored weights."""
        if not self._narrow:
            yield
            return
        widened = [(variable, tf.cast(stored, tf.float32)) for variable, stored in self._narrow]
        with keras.StatelessScope(state_mapping=widened):
            yield


def _may_be_narrow(variable) -> bool:
    return (
        variable.dtype == "float32"
        and len(variable.shape) >= 2
        and not variable.path.endswith(STATISTICS)
    )


def _narrowed(variable, precision: str) -> tf.Variable:
    value = tf.cast(variable.value, precision)
    if not bool(tf.reduce_all(tf.math.is_finite(tf.cast(value, tf.float32)))):
        raise InputError(f"expected finite values in {precision}, {variable.path} has others")
    return tf.Variable(value, trainable=False)
