"""tensorflow-gan's adversarial losses and classifier metrics, on every TensorFlow we support.

`import tensorflow_gan` fails on TensorFlow 2.16 and later: its package initialisers import the
Estimator code, which needs the removed `tf.estimator`. The modules below them work, so the two
packages whose initialisers fail are registered here without running them. A tensorflow-gan that
was already imported is used as it is.

Needs, besides tensorflow-gan: tensorflow-hub, tensorflow-probability and tf_keras for the metrics
(all imported by `tensorflow_gan.python.eval`); the losses need TensorFlow alone.
"""

import importlib
import importlib.util
import sys
from types import ModuleType

from cgt_tf import hub
from cgt_tf.errors import InputError

_PACKAGES = ("tensorflow_gan", "tensorflow_gan.python")


def losses() -> ModuleType:
    """Returns `tensorflow_gan.python.losses.losses_impl` (Wasserstein, hinge, minimax losses ...).

    Raises:
        InputError: tensorflow-gan is not installed.
    """
    return _import("tensorflow_gan.python.losses.losses_impl")


def classifier_metrics() -> ModuleType:
    """Returns `tensorflow_gan.python.eval.classifier_metrics` (Frechet and kernel distances ...).

    Raises:
        InputError: tensorflow-gan, or a package that its metrics need, is not installed.
    """
    return _import("tensorflow_gan.python.eval.classifier_metrics")


def _import(name: str) -> ModuleType:
    try:
        for package in _PACKAGES:
            _register_without_running(package)
        return importlib.import_module(name)
    except ImportError as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if error.name == "pkg_resources":
            reason = hub.import_advice(error)
        raise InputError(
            f"{name} needs the packages tensorflow-gan, tensorflow-hub, tensorflow-probability "
            f"and tf_keras, got: {reason}"
        ) from error


def _register_without_running(package: str) -> None:
    """Enters `package` into `sys.modules` with its path, but without running its initialiser."""
    if package in sys.modules:
        return
    specification = importlib.util.find_spec(package)
    if specification is None or specification.submodule_search_locations is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    module = importlib.util.module_from_spec(specification)
    sys.modules[package] = module
    parent, _, child = package.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
