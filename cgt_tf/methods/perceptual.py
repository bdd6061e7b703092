"""Feature maps that reconstructions are compared by."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import keras
from keras import ops

from cgt_tf.errors import InputError

# The ten convolutions of VGG16 that BSA compares: conv1_1 to conv4_3, after their relu.
_VGG16 = (
    *("block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2"),
    *("block3_conv1", "block3_conv2", "block3_conv3"),
    *("block4_conv1", "block4_conv2", "block4_conv3"),
)

FeatureMaps = Callable[..., list]


def load_feature_maps(handle: str) -> FeatureMaps:
    """Loads a network whose feature maps are compared.

    Args:
        handle: `vgg16:<file>`, weights of `keras.applications.VGG16` without its top, whose ten
            convolutions up to block 4 are taken; or a `.keras` model file of images in [-1, 1],
            of which all 2-d convolutions are.

    Returns:
        Images float32 [B, R, R, 3] in [-1, 1] to a list of feature maps [B, h, w, c]. A `.keras`
        model of a fixed resolution sees them resized to it.

    Raises:
        InputError: no such file, not such a file, or no convolution in it.
    """
    kind, colon, rest = handle.partition(":")
    if kind == "vgg16" and colon:
        return _vgg16(Path(rest))
    if handle.endswith(".keras"):
        return _keras_model(Path(handle))
    raise InputError(
        f"expected a perceptual net vgg16:<weights file> or a .keras file, got {handle!r}"
    )


def _vgg16(path: Path) -> FeatureMaps:
    if not path.is_file():
        raise InputError(f"expected a file of VGG16 weights, got a path without a file: {path}")
    network = keras.applications.VGG16(include_top=False, weights=None)
    try:
        network.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"expected VGG16 weights without top in {path}: {reason}") from error
    outputs = [network.get_layer(name).output for name in _VGG16]
    model = keras.Model(network.inputs[0], outputs)

    def feature_maps(images):
        return model(keras.applications.vgg16.preprocess_input((images + 1) * 127.5))

    return feature_maps


def _keras_model(path: Path) -> FeatureMaps:
    if not path.is_file():
        raise InputError(f"expected a Keras model file, got a path without a file: {path}")
    try:
        network = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"expected a Keras model file in {path}: {reason}") from error
    outputs = [x.output for x in network.layers if isinstance(x, keras.layers.Conv2D)]
    if not outputs or len(network.inputs) != 1:
        raise InputError(
            f"expected a Keras model of one input with 2-d convolutions, got {len(network.inputs)} "
            f"inputs and {len(outputs)} convolutions in {path}"
        )
    model = keras.Model(network.inputs[0], outputs)
    size = network.input_shape[1:3]

    def feature_maps(images):
        if size[0] is not None and tuple(images.shape[1:3]) != size:
            images = ops.image.resize(images, size)
        maps = model(images, training=False)
        return maps if isinstance(maps, list) else [maps]

    return feature_maps
