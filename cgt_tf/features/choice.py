"""Which feature network scores which images, where none or an unsuitable one is named."""

from collections.abc import Sequence

import tensorflow as tf

from cgt_tf.config import AUTO
from cgt_tf.data.image_set import ALL
from cgt_tf.data.image_specs import FLAT_CLASS
from cgt_tf.errors import InputError
from cgt_tf.features.feature_net import FeatureNet
from cgt_tf.features.loading import bundled_class_names, load_feature_net

_GLYPHS, _PHOTOGRAPHS = "bundled:glyph_classifier", "bundled:cifar_classifier"
_PHOTOGRAPH_RESOLUTION = 32


class NoFeaturesError(InputError):
    """No feature network at hand fits the images."""


def load_features(
    handle: str,
    class_names: Sequence[str],
    resolution: int,
    *,
    force: bool = False,
    strategy: tf.distribute.Strategy | None = None,
) -> FeatureNet:
    """Loads a feature network that says something about the images.

    Args:
        handle: See `features.load_feature_net`; or `auto`: the bundled classifier that knows all
            classes; else, for images of at most 32 pixels, that of photographs; else Inception.
        class_names: Class names of the real images.
        resolution: Resolution of the images, in pixels.
        force: Allow the glyph classifier for other images.
        strategy: See `features.load_feature_net`.

    Raises:
        NoFeaturesError: `auto`, larger images, and Inception cannot be had.
        InputError: the glyph classifier for images that are no glyphs; or as `load_feature_net`.
    """
    if handle == AUTO:
        return _load_fitting(class_names, resolution, strategy)
    if handle == _GLYPHS and not force and not _may_be_glyphs(class_names):
        raise InputError(
            f"expected features that fit the images, got {_GLYPHS} for {class_names[0]!r} and "
            f"{len(class_names) - 1} other classes, none of which is a glyph: leave the feature "
            "network out, make one with cgt-features, or force this one (--force_features, "
            "--config.evaluation.force_features in training)"
        )
    return load_feature_net(handle, strategy=strategy)


def _load_fitting(class_names, resolution, strategy) -> FeatureNet:
    for handle in (_GLYPHS, _PHOTOGRAPHS):
        if set(class_names) <= set(bundled_class_names(handle)):
            return load_feature_net(handle, strategy=strategy)
    if resolution <= _PHOTOGRAPH_RESOLUTION:
        return load_feature_net(_PHOTOGRAPHS, strategy=strategy)
    try:
        return load_feature_net("inception", strategy=strategy)
    except InputError as error:
        raise NoFeaturesError(
            f"no feature network at hand fits images of {resolution} pixels: make one with "
            "cgt-features --data=<class folders> --output=features.keras, and name it with "
            f"--features (--config.evaluation.features in training); Inception: {error}"
        ) from error


def _may_be_glyphs(class_names: Sequence[str]) -> bool:
    unnamed = tuple(class_names) in ((FLAT_CLASS,), (ALL,))
    return unnamed or bool(set(class_names) & set(bundled_class_names(_GLYPHS)))
