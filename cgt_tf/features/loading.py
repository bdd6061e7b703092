"""Loads feature networks by handle: what maps images to the features that the metrics compare."""

import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from cgt_tf.config import AUTO
from cgt_tf.errors import InputError
from cgt_tf.features import saved_model_net
from cgt_tf.features.classifier_facts import read_facts
from cgt_tf.features.feature_net import FeatureNet
from cgt_tf.files import sha256

_ASSETS = Path(__file__).resolve().parent.parent / "assets"
_BUNDLED = ("glyph_classifier", "cifar_classifier")
# What Keras, h5py and zipfile raise for files that are damaged or made by hand.
_LOAD_ERRORS = (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError, OSError),
    *(RuntimeError, NotImplementedError, ImportError, EOFError, RecursionError, MemoryError),
    *(OverflowError, zipfile.BadZipFile, zlib.error, struct.error, tf.errors.OpError),
)


def load_feature_net(
    handle: str,
    class_names: tuple[str, ...] | None = None,
    strategy: tf.distribute.Strategy | None = None,
) -> FeatureNet:
    """Loads a feature network.

    Args:
        handle: One of
            `bundled:glyph_classifier`, `bundled:cifar_classifier`: the 32-pixel classifiers of
                letters and of photographs that come with the package;
            a path to a `.keras` model file of images in [-1, 1]: the features are the output of
                the layer named `features`, else the input of the last layer, and the class logits
                the output of the layer named `logits`, if there is one;
            `savedmodel:<directory>`, or the path of such a directory: a SavedModel of images in
                [-1, 1], by the rule of `saved_model_net`;
            `inception`: the TF-Hub module that tensorflow-gan uses (299 pixels, 2048 features of
                `pool_3`, its logits for the Inception Score);
            `inception:<folder>`: the same module, downloaded and unpacked beforehand.
        class_names: What the logits stand for. Default: what cgt-features has put into the file,
            else the lines of the file `<name>_classes.txt` beside `<name>.keras`, or
            `class_names.txt` in a SavedModel's directory, if there is one.
        strategy: Its scope holds the network's variables; None: one device.

    Raises:
        InputError: nothing at that handle, not such a model, or a module that cannot be downloaded.
    """
    with (strategy or tf.distribute.get_strategy()).scope():
        return _loader(handle)(class_names)


def runs_code(handle: str) -> bool:
    """Whether loading a feature network executes what its file holds: a SavedModel is a program."""
    kind, colon, rest = handle.partition(":")
    if kind == "savedmodel" or (kind == "inception" and rest):
        return True
    return not colon and not handle.endswith(".keras") and kind not in ("inception", AUTO)


def refuse_program(handle: str) -> None:
    """`InputError` for a feature network that runs code and was named by a run's own files."""
    if runs_code(handle):
        raise InputError(
            f"the run's own config.json names {handle!r}, which is a program: give it with "
            "--features, or --trust the run"
        )


def _loader(handle: str) -> Callable[[tuple[str, ...] | None], FeatureNet]:
    kind, colon, rest = handle.partition(":")
    if kind == "bundled" and colon:
        path = _bundled_file(handle)
        return lambda names: _load_keras(handle, path, names)
    if kind == "inception":
        return lambda names: saved_model_net.load_inception(rest, names)
    if kind == "savedmodel" and colon:
        return lambda names: saved_model_net.load(Path(rest), names)
    if handle.endswith(".keras"):
        return lambda names: _load_keras(Path(handle).name, Path(handle), names)
    if handle and Path(handle).is_dir():
        return lambda names: saved_model_net.load(Path(handle), names)
    raise InputError(
        "expected a feature net bundled:<name>, inception, inception:<folder>, "
        f"savedmodel:<directory> or a path to a .keras file, got {handle!r}"
    )


def bundled_class_names(handle: str) -> tuple[str, ...]:
    """Classes of a bundled classifier, by its handle, without loading it."""
    facts = read_facts(_bundled_file(handle))
    return facts.class_names if facts else ()


def _bundled_file(handle: str) -> Path:
    name = handle.removeprefix("bundled:")
    if name not in _BUNDLED:
        raise InputError(f"expected one of {list(_BUNDLED)} after 'bundled:', got {name!r}")
    return _ASSETS / f"{name}.keras"


def _load_keras(name: str, path: Path, class_names: tuple[str, ...] | None) -> FeatureNet:
    if not path.is_file():
        raise InputError(f"expected a Keras model file, got a path without a file: {path}")
    if not zipfile.is_zipfile(path):
        raise InputError(f"expected a file saved by keras.Model.save, got another kind: {path}")
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except _LOAD_ERRORS as error:
        reason = str(error).strip().splitlines()
        raise InputError(
            f"expected a file saved by keras.Model.save, got {path}: {reason[0] if reason else ''}"
        ) from error
    model = _features_and_logits(model, path)
    features, *logits = model.outputs
    facts = read_facts(path)
    if class_names is None and facts:
        class_names = facts.class_names
    elif class_names is None:
        class_names = saved_model_net.read_class_names(path.with_name(f"{path.stem}_classes.txt"))
    saved_model_net.check_class_names(class_names, logits[0].shape[-1] if logits else 0, path.name)

    def function(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        outputs = tf.nest.flatten(model(images, training=False))
        return tf.cast(outputs[0], tf.float32), tf.cast(outputs[1], tf.float32) if logits else None

    return FeatureNet(
        name=name,
        resolution=model.inputs[0].shape[1],
        dim=features.shape[-1],
        fingerprint=sha256(path),
        function=function,
        class_names=tuple(class_names),
        facts=facts,
    )


def _features_and_logits(model: keras.Model, path: Path) -> keras.Model:
    """The same network with outputs [features] or [features, logits]."""
    inputs = getattr(model, "inputs", None) or []
    shape = tuple(inputs[0].shape) if len(inputs) == 1 else ()
    if len(shape) != 4 or shape[1] is None or shape[1] != shape[2] or shape[3] != 3:
        raise InputError(
            "expected a Keras model with one input [B, R, R, 3] of fixed R, got inputs "
            f"{[list(tensor.shape) for tensor in inputs]} in {path}"
        )
    layers = {layer.name: layer for layer in model.layers}
    features = layers["features"].output if "features" in layers else model.layers[-1].input
    if isinstance(features, list | tuple | dict) or len(features.shape) != 2:
        given = getattr(features, "shape", None)
        raise InputError(
            "expected features [B, d] from the layer 'features' or else before the last layer, got "
            f"{'several tensors' if given is None else list(given)} in {path}"
        )
    outputs = [features] + ([layers["logits"].output] if "logits" in layers else [])
    return keras.Model(inputs[0], outputs)
