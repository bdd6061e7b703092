"""Keeps what TensorFlow prints whenever it starts from the terminal; anything else is shown.

It comes from C++ before any log level is read, so it is caught at the file descriptor of stderr,
while TensorFlow is imported and looks for devices, and no longer.
"""

import contextlib
import importlib.abc
import importlib.util
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator

_USUAL = re.compile(
    r"All log messages before absl::InitializeLog"
    r"|oneDNN custom operations are on"
    r"|Could not find cuda drivers on your machine"
    r"|failed call to cuInit: .*(\(303\)|NO_DEVICE)"
    r"|TensorFlow binary is optimized to use available CPU instructions"
    r"|To enable the following instructions: .* rebuild TensorFlow"
    r"|Unable to register cu(DNN|FFT|BLAS) factory"
    r"|computation placer already registered"
)


def before_tensorflow() -> None:
    """Has the usual lines left out when TensorFlow is imported later on."""
    if "tensorflow" not in sys.modules:
        sys.meta_path.insert(0, _Finder())


@contextlib.contextmanager
def usual_lines_left_out() -> Iterator[None]:
    """Inside, lines on stderr wait; at the end those that are not usual are shown."""
    with tempfile.TemporaryFile() as kept:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            kept.seek(0)
            for line in kept.read().decode(errors="replace").splitlines():
                if line.strip() and not _USUAL.search(line):
                    print(line, file=sys.stderr, flush=True)


def is_worth_a_line(record: logging.LogRecord) -> bool:
    """Whether a message of TensorFlow's own logger is for who runs a command.

    Pictures of several generators are graphs of their own, of which it warns as of a mistake.
    """
    return "triggered tf.function retracing" not in record.getMessage()


class _Finder(importlib.abc.MetaPathFinder):
    """Finds TensorFlow as the other finders do, and wraps its loader."""

    def find_spec(self, name, path=None, target=None):
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader):
        self._loader = loader

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        with usual_lines_left_out():
            self._loader.exec_module(module)
            # Looking for devices is what the last of the usual lines are about.
            module.config.list_physical_devices()
        module.get_logger().addFilter(is_worth_a_line)

    def __getattr__(self, name):
        return getattr(self._loader, name)
