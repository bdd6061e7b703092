"""Feature networks that are SavedModels: any of them by one rule, and TF-Hub's Inception.

The rule. Input: the loaded object itself if it can be called with one image tensor, else the
signature `serving_default`; float32 [B, R, R, 3] in [-1, 1] with a fixed R. Output: one float
tensor [B, d] (or [B, 1, 1, d]), the features; or a dictionary with `features` and, for a
classifier, `logits` [B, k]; or a dictionary of a single tensor. A file `class_names.txt` in the
directory, one line a logit, names the classes.

A SavedModel is a program: load only those that you trust.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from cgt_tf import hub
from cgt_tf.errors import InputError
from cgt_tf.features.feature_net import FeatureNet
from cgt_tf.files import sha256

# The handle of tensorflow_gan.python.eval.inception_metrics.INCEPTION_TFHUB, its feature output and
# its image size.
INCEPTION_HANDLE = "https://tfhub.dev/tensorflow/tfgan/eval/inception/1"
INCEPTION_OUTPUT = "pool_3"
INCEPTION_RESOLUTION = 299

_CLASS_NAMES = "class_names.txt"
_LOAD_ERRORS = (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError, OSError),
    *(RuntimeError, NotImplementedError, ImportError, MemoryError, tf.errors.OpError),
)


def load(directory: Path, class_names: tuple[str, ...] | None = None) -> FeatureNet:
    """Loads a SavedModel by the rule above; see `features.load_feature_net`."""
    loaded = _load(directory)
    function, resolution = _entry(loaded, directory)
    if class_names is None:
        class_names = read_class_names(directory / _CLASS_NAMES)
    return _feature_net(
        directory.resolve().name,
        directory,
        loaded,
        function,
        resolution,
        _features_and_logits,
        class_names,
    )


def load_inception(folder: str, class_names: tuple[str, ...] | None = None) -> FeatureNet:
    """Loads tensorflow-gan's Inception from TF-Hub ("") or from an unpacked folder."""
    directory = Path(folder) if folder else hub.download(INCEPTION_HANDLE, "inception:<folder>")
    loaded = _load(directory)
    if not callable(loaded):
        raise InputError(f"expected a TF-Hub module that can be called, got another: {directory}")

    def split(outputs: Any) -> tuple[tf.Tensor, tf.Tensor | None]:
        if not isinstance(outputs, dict) or INCEPTION_OUTPUT not in outputs:
            given = sorted(outputs) if isinstance(outputs, dict) else type(outputs).__name__
            raise InputError(f"expected the output {INCEPTION_OUTPUT!r}, got {given}")
        return outputs[INCEPTION_OUTPUT], outputs.get("logits")

    return _feature_net(
        "inception", directory, loaded, loaded, INCEPTION_RESOLUTION, split, class_names or ()
    )


def _feature_net(
    name: str,
    directory: Path,
    loaded: Any,
    entry: Callable[[tf.Tensor], Any],
    resolution: int,
    split: Callable[[Any], tuple[tf.Tensor, tf.Tensor | None]],
    class_names: tuple[str, ...],
) -> FeatureNet:
    """Tries the network on one blank image and wraps it."""

    try:
        features, logits = split(entry(tf.zeros((1, resolution, resolution, 3))))
        dim, classes = _width(features, "features"), _width(logits, "logits")
    except InputError as error:
        raise InputError(f"{error} from {directory}") from None
    except _LOAD_ERRORS as error:
        raise InputError(
            f"expected a SavedModel of float images [B, {resolution}, {resolution}, 3], got "
            f"{directory}: {_first_line(error)}"
        ) from None
    check_class_names(class_names, classes, directory.name)

    def function(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        _ = loaded  # Owns the variables.
        features, logits = split(entry(images))
        features = tf.reshape(tf.cast(features, tf.float32), [-1, dim])
        return features, tf.reshape(tf.cast(logits, tf.float32), [-1, classes]) if classes else None

    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return FeatureNet(name, resolution, dim, sha256(*files), function, tuple(class_names))


def _load(directory: Path) -> Any:
    if not (directory / "saved_model.pb").is_file():
        raise InputError(f"expected a SavedModel folder with saved_model.pb, got {directory}")
    try:
        return tf.saved_model.load(str(directory))
    except _LOAD_ERRORS as error:
        raise InputError(
            f"expected a complete SavedModel in {directory}: {_first_line(error)}"
        ) from None


def _entry(loaded: Any, directory: Path) -> tuple[Callable[[tf.Tensor], Any], int]:
    """What to call with images, and the side of the images that it wants."""
    found = []
    if callable(loaded):
        for concrete in getattr(loaded.__call__, "concrete_functions", ()):
            found.append((loaded, _tensor_specs(concrete)))
    signature = getattr(loaded, "signatures", {}).get("serving_default")
    if signature is not None:
        specs = _tensor_specs(signature)
        found.append((lambda images: signature(**{next(iter(specs)): images}), specs))
    for function, specs in found:
        shape = next(iter(specs.values())).shape if len(specs) == 1 else tf.TensorShape(None)
        if shape.rank == 4 and shape[1] and shape[1] == shape[2] and shape[3] in (3, None):
            return function, shape[1]
    shown = [[f"{spec.dtype.name} {spec.shape}" for spec in specs.values()] for _, specs in found]
    raise InputError(
        "expected a SavedModel that can be called, or has the signature serving_default, with one "
        f"input [B, R, R, 3] of fixed R, got inputs {shown} in {directory}"
    )


def _tensor_specs(concrete: Any) -> dict[str, tf.TensorSpec]:
    """Inputs of a traced function by name; other arguments, such as training=False, left out."""
    arguments, keywords = concrete.structured_input_signature
    specs = [x for x in tf.nest.flatten(arguments) if isinstance(x, tf.TensorSpec)]
    return {spec.name: spec for spec in specs} | {
        name: spec for name, spec in keywords.items() if isinstance(spec, tf.TensorSpec)
    }


def _features_and_logits(outputs: Any) -> tuple[tf.Tensor, tf.Tensor | None]:
    if isinstance(outputs, dict):
        if "features" in outputs:
            return outputs["features"], outputs.get("logits")
        if len(outputs) == 1:
            return next(iter(outputs.values())), None
        raise InputError(f"expected the output 'features' or a single one, got {sorted(outputs)}")
    flat = tf.nest.flatten(outputs)
    if len(flat) != 1:
        raise InputError(f"expected one output or a dictionary, got {len(flat)} outputs")
    return flat[0], None


def _width(tensor: tf.Tensor | None, what: str) -> int:
    """d of a float tensor [1, d] or [1, 1, 1, d]; 0 for None."""
    if tensor is None:
        return 0
    shape = list(tensor.shape)
    if not tensor.dtype.is_floating or shape[:-1] not in ([1], [1, 1, 1]) or shape[-1] < 1:
        raise InputError(f"expected {what} as floats [B, d], got {tensor.dtype.name} {shape}")
    return shape[-1]


def read_class_names(path: Path) -> tuple[str, ...]:
    """The lines of a text file; () where there is no such file."""
    return tuple(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else ()


def check_class_names(names: tuple[str, ...], logits: int, origin: str) -> None:
    """`InputError` unless there are no names, or one for each logit."""
    if names and logits != len(names):
        raise InputError(
            f"expected one class name per logit of {origin}, got {len(names)} names for "
            f"{logits} logits"
        )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
