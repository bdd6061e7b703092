"""Feature networks: what maps images to the feature vectors that the metrics compare.

Resizing is part of a metric (Parmar et al., "On Aliased Resizing and Surprising Subtleties in GAN
Evaluation", 2022), so it happens here and nowhere else: bilinear with half-pixel centres, with
antialiasing when the image shrinks, in float32 and without rounding to uint8 in between. Numbers
from different feature networks, or from other resizings, are not comparable.
"""

import dataclasses
import functools
import hashlib
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from cgt_tf.errors import InputError

# The handle of tensorflow_gan.python.eval.inception_metrics.INCEPTION_TFHUB, its feature output and
# its image size.
INCEPTION_HANDLE = "https://tfhub.dev/tensorflow/tfgan/eval/inception/1"
INCEPTION_OUTPUT = "pool_3"
INCEPTION_RESOLUTION = 299
RESIZE = "bilinear, antialiased when shrinking"

_ASSETS = Path(__file__).resolve().parent.parent / "assets"
_BUNDLED = ("glyph_classifier",)


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureNet:
    """A network whose features the metrics are computed from.

    Attributes:
        name: the handle it was loaded from, without any folder.
        resolution: height and width in pixels that images are resized to.
        dim: the number of features.
        fingerprint: sha256 of the file, or of the folder's files, in hexadecimal.
        function: float32 [B, resolution, resolution, 3] in [-1, 1] to features float32 [B, dim]
            and class logits float32 [B, k], or None where the network is no classifier.
        class_names: what the k logits stand for; empty where unknown.
    """

    name: str
    resolution: int
    dim: int
    fingerprint: str
    function: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor | None]]
    class_names: tuple[str, ...] = ()

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Images float32 [B, H, W, 3] in [-1, 1], of any H and W, to features float32 [B, dim]."""
        return self.function(self.resized(images))[0]

    def resized(self, images: tf.Tensor) -> tf.Tensor:
        """Images float32 [B, H, W, 3] at the network's resolution; see the module's first lines."""
        height, width = images.shape[1:3]
        if (height, width) == (self.resolution, self.resolution):
            return images
        shrinks = max(height, width) > self.resolution
        return tf.image.resize(images, (self.resolution, self.resolution), antialias=shrinks)

    @functools.cached_property
    def compiled(self) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        """uint8 [B, H, W, 3] to features and predictions int32 [B] (-1 for no classifier)."""

        @tf.function
        def features_and_predictions(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            features, logits = self.function(self.resized(tf.cast(images, tf.float32) / 127.5 - 1))
            if logits is None:
                return features, tf.fill(tf.shape(features)[:1], -1)
            return features, tf.argmax(logits, axis=-1, output_type=tf.int32)

        return features_and_predictions


def load_feature_net(handle: str, class_names: tuple[str, ...] | None = None) -> FeatureNet:
    """Loads a feature network.

    Args:
        handle: one of
            `bundled:glyph_classifier`: the 32-pixel classifier that comes with the package;
            a path to a `.keras` model file of images in [-1, 1]: the features are the output of
                the layer named `features`, else the input of the last layer, and the class logits
                the output of the layer named `logits`, if there is one;
            `inception`: the TF-Hub module that tensorflow-gan uses (299 pixels, 2048 features);
            `inception:<folder>`: the same module, downloaded and unpacked beforehand.
        class_names: what the logits stand for. Default: the lines of the file
            `<name>_classes.txt` beside `<name>.keras`, if there is one.

    Raises:
        InputError: nothing at that handle, not such a model, or a module that cannot be downloaded.
    """
    kind, colon, rest = handle.partition(":")
    if kind == "bundled" and colon:
        if rest not in _BUNDLED:
            raise InputError(f"expected one of {list(_BUNDLED)} after 'bundled:', got {rest!r}")
        return _load_keras(handle, _ASSETS / f"{rest}.keras", class_names)
    if kind == "inception":
        return _load_inception(Path(rest) if rest else _download(INCEPTION_HANDLE))
    if not handle.endswith(".keras"):
        raise InputError(
            "expected a feature net bundled:glyph_classifier, inception, inception:<folder> or a "
            f"path to a .keras file, got {handle!r}"
        )
    return _load_keras(Path(handle).name, Path(handle), class_names)


def _load_keras(name: str, path: Path, class_names: tuple[str, ...] | None) -> FeatureNet:
    if not path.is_file():
        raise InputError(f"expected a Keras model file, got a path without a file: {path}")
    if not zipfile.is_zipfile(path):
        raise InputError(f"expected a file saved by keras.Model.save, got another kind: {path}")
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as error:
        reason = str(error).strip().splitlines()
        raise InputError(
            f"expected a file saved by keras.Model.save, got {path}: {reason[0] if reason else ''}"
        ) from error
    model = _features_and_logits(model, path)
    features, *logits = model.outputs
    if class_names is None:
        class_names = _read_class_names(path.with_name(f"{path.stem}_classes.txt"))
    if class_names and (not logits or logits[0].shape[-1] != len(class_names)):
        raise InputError(
            f"expected one class name per logit of {path.name}, got {len(class_names)} names for "
            f"{logits[0].shape[-1] if logits else 0} logits"
        )

    def function(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor | None]:
        outputs = tf.nest.flatten(model(images, training=False))
        return tf.cast(outputs[0], tf.float32), tf.cast(outputs[1], tf.float32) if logits else None

    return FeatureNet(
        name=name,
        resolution=model.inputs[0].shape[1],
        dim=features.shape[-1],
        fingerprint=_sha256([path]),
        function=function,
        class_names=tuple(class_names),
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


def _read_class_names(path: Path) -> tuple[str, ...]:
    return tuple(path.read_text(encoding="utf-8").splitlines()) if path.is_file() else ()


def _download(handle: str) -> Path:
    try:
        import tensorflow_hub

        return Path(tensorflow_hub.resolve(handle))
    except (ImportError, OSError, ValueError, RuntimeError, tf.errors.OpError) as error:
        reason = str(error).strip().splitlines()
        raise InputError(
            f"expected to download {handle}, got {reason[0] if reason else type(error).__name__}: "
            "connect to the network or download and unpack the module elsewhere and pass "
            "inception:<folder>"
        ) from error


def _load_inception(folder: Path) -> FeatureNet:
    if not (folder / "saved_model.pb").is_file():
        raise InputError(f"expected a TF-Hub module folder with saved_model.pb, got {folder}")
    shape = (1, INCEPTION_RESOLUTION, INCEPTION_RESOLUTION, 3)
    expected = f"expected a module that maps images {list(shape)} to {INCEPTION_OUTPUT!r}"
    try:
        module = tf.saved_model.load(str(folder))
        outputs = module(tf.zeros(shape)) if callable(module) else None
    except (ValueError, TypeError, OSError, tf.errors.OpError) as error:
        raise InputError(f"{expected}, got {folder}: {str(error).strip()[:200]!r}") from error
    if not isinstance(outputs, dict) or INCEPTION_OUTPUT not in outputs:
        given = sorted(outputs) if isinstance(outputs, dict) else type(outputs).__name__
        raise InputError(f"{expected}, got {given} from {folder}")
    dim = int(np.prod(outputs[INCEPTION_OUTPUT].shape[1:]))

    def function(images: tf.Tensor) -> tuple[tf.Tensor, None]:
        return tf.reshape(tf.cast(module(images)[INCEPTION_OUTPUT], tf.float32), [-1, dim]), None

    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return FeatureNet("inception", INCEPTION_RESOLUTION, dim, _sha256(files), function)


def _sha256(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def check_images(images: np.ndarray) -> np.ndarray:
    """Returns `images` if they are uint8 [n >= 1, H, W, 3]; raises InputError otherwise."""
    array = np.asarray(images)
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[-1] != 3 or 0 in array.shape:
        raise InputError(
            f"expected images uint8 [n, H, W, 3], got {array.dtype} {list(array.shape)}"
        )
    return array


def extract(
    net: FeatureNet,
    images: np.ndarray | Iterable[np.ndarray],
    batch_size: int = 100,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Features of many images, float32 [n, dim].

    Args:
        net: the feature network.
        images: uint8 [n, H, W, 3], or an iterable of such batches of any sizes.
        batch_size: images per call of the network. The last batch is filled up, so that the
            network is traced once.
        progress: called with the number of images done after each batch.

    Raises:
        InputError: no images, images of another kind, or a batch size below 1.
    """
    return extract_with_predictions(net, images, batch_size, progress)[0]


def extract_with_predictions(
    net: FeatureNet,
    images: np.ndarray | Iterable[np.ndarray],
    batch_size: int = 100,
    progress: Callable[[int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """As `extract`, with the predicted classes int32 [n] (-1 where `net` is no classifier)."""
    if batch_size < 1:
        raise InputError(f"expected a batch size of at least 1, got {batch_size}")
    batches = [images] if isinstance(images, np.ndarray) else images
    features, predictions, done = [], [], 0
    for batch in _pieces(batches, batch_size):
        padding = [(0, batch_size - len(batch)), (0, 0), (0, 0), (0, 0)]
        outputs = net.compiled(tf.constant(np.pad(batch, padding)))
        features.append(outputs[0].numpy()[: len(batch)])
        predictions.append(outputs[1].numpy()[: len(batch)])
        done += len(batch)
        if progress is not None:
            progress(done)
    if not features:
        raise InputError("expected images uint8 [n, H, W, 3], got no batch at all")
    return np.concatenate(features), np.concatenate(predictions)


def _pieces(batches: Iterable[np.ndarray], batch_size: int) -> Iterator[np.ndarray]:
    for batch in batches:
        batch = check_images(batch)
        for start in range(0, len(batch), batch_size):
            yield batch[start : start + batch_size]
