"""Python functions within `tf.data` pipelines, which let the process end.

A thread of TensorFlow's that asks for the interpreter's lock while the interpreter shuts down is
never woken, and whoever destroys the pipeline that it belongs to waits for it for ever.
"""

import atexit
import threading
import time
from collections.abc import Callable

import numpy as np
import tensorflow as tf

_QUIET, _LONGEST_WAIT = 0.1, 10.0  # Seconds.


def call(function: Callable[[np.ndarray], np.ndarray], argument: tf.Tensor, dtype) -> tf.Tensor:
    """What a function returns for a tensor, in a graph; its shape is unknown.

    Args:
        function: Pure: the same argument always gives the same result, so that calls may overlap.
        argument: Any tensor.
        dtype: Dtype of the result.
    """

    def gated(value: np.ndarray) -> np.ndarray:
        with _gate:
            return function(value)

    return tf.numpy_function(gated, [argument], dtype, stateful=False)


class _Gate:
    """Counts the threads that are in Python, and lets none in once it is closed."""

    def __init__(self) -> None:
        self._lock, self._inside, self._last, self._closed = threading.Lock(), 0, 0.0, False

    def __enter__(self) -> None:
        with self._lock:
            self._last = time.monotonic()
            if self._closed:
                raise RuntimeError("the interpreter shuts down")
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            self._last = time.monotonic()

    def close(self) -> None:
        """Fails all further calls; returns when pipelines have filled their buffers with errors."""
        end = time.monotonic() + _LONGEST_WAIT
        with self._lock:
            self._closed = True
        while time.monotonic() < end:
            with self._lock:
                if not self._inside and time.monotonic() - self._last > _QUIET:
                    return
            time.sleep(_QUIET / 10)


_gate = _Gate()
atexit.register(_gate.close)
