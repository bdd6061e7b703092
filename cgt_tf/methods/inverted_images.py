"""What becomes of inverted training images: a report, a picture, starts of the classes."""

import sys
from collections.abc import Callable

import numpy as np
from absl import logging
from PIL import Image

from cgt_tf.data.pipeline import to_uint8
from cgt_tf.methods.feature_transfer import FeatureTransfer
from cgt_tf.methods.inversion import Codes, InversionSettings, embeds
from cgt_tf.methods.inversion_cache import InversionCache, invert_images
from cgt_tf.networks.gan import Gan
from cgt_tf.pictures import captioned_grid

_COLUMNS, _ROWS = 8, 6  # Pairs of the picture.
_WORST = 16  # Of them, marked; the others are spread evenly over the rest.
_LEAST_SIDE = 64  # Smaller images are enlarged, by whole factors.


def invert_and_report(
    source: Gan,
    images: np.ndarray,
    settings: InversionSettings,
    transfer: FeatureTransfer,
    *,
    batch: int,
    cache_dir: str | None,
) -> tuple[Codes, list[np.ndarray]]:
    """Codes of images uint8 [n, R, R, 3], and pooled features of what they reconstruct.

    How well it does is printed on stderr, with the path of a picture that shows it.
    """
    cache = InversionCache(source, settings, cache_dir)
    codes = invert_images(source, images, settings, batch=batch, cache=cache)
    reconstructions, features = transfer.reconstruct(codes, settings.truncation, batch)
    shown = shown_pairs(codes.error)
    pairs = (images[shown], to_uint8(reconstructions[shown]).numpy(), codes.error[shown])
    path = cache.write_picture(draw_pairs(*pairs), images)
    for line in (describe(codes.error), f"reconstructions, worst first: {path}"):
        logging.info(line)
        print(line, file=sys.stderr)  # noqa: T201 (minutes of work, whose outcome is told at once)
    return codes, features


def shown_pairs(errors: np.ndarray) -> np.ndarray:
    """Numbers of the images that are shown, worst first."""
    order = np.argsort(-errors, kind="stable")
    rest = order[_WORST:]
    spread = np.linspace(0, len(rest) - 1, min(_COLUMNS * _ROWS - _WORST, len(rest)))
    return np.concatenate([order[:_WORST], rest[spread.round().astype(int)]])


def draw_pairs(images: np.ndarray, reconstructions: np.ndarray, errors: np.ndarray) -> Image.Image:
    """Pairs of image and reconstruction with the error below; the worst are framed in red.

    Args:
        images, reconstructions: uint8 [n, R, R, 3].
        errors: [n], in falling order.
    """
    return captioned_grid(
        np.concatenate([images, reconstructions], axis=2),
        [f"{error:.3f}" for error in errors],
        min(_COLUMNS, len(images)),
        scale=max(1, -(-_LEAST_SIDE // images.shape[1])),
        marked=_WORST,
    )


def describe(errors: np.ndarray) -> str:
    """One line on the errors of all images."""
    return (
        f"inversion of {len(errors)} images: mean absolute error of pixels in [-1, 1] "
        f"{errors.mean():.4f}, median {np.median(errors):.4f}, worst {errors.max():.4f}"
    )


def without_worst(errors: np.ndarray, labels: np.ndarray, share: float) -> np.ndarray:
    """Numbers of the images that are left without the worst of each class, in order.

    Args:
        errors: [n].
        labels: int [n].
        share: Share of the images of a class, in [0, 1); rounded down.
    """
    kept = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        order = members[np.argsort(errors[members], kind="stable")]
        kept.append(order[: len(order) - int(share * len(order))])
    return np.sort(np.concatenate(kept))


def class_rows(
    source: Gan, codes: Codes, labels: np.ndarray
) -> Callable[[str, np.ndarray], np.ndarray]:
    """First rows of new classes for `whole_generator.copy_whole`: means of their images' codes.

    Args:
        source: Source whose tables the codes are mixtures of.
        codes: Codes of n images.
        labels: int [n]; every one from 0 on is there.
    """
    classes = range(labels.max() + 1)
    weights = np.stack([codes.weights[labels == label].mean(axis=0) for label in classes])
    offsets = np.stack([codes.offset[labels == label].mean(axis=0) for label in classes])

    def rows(name, table):
        mean = weights @ table
        if embeds(source.spec) and name.startswith("class_embedding/"):
            mean = mean + offsets
        return mean

    return rows
