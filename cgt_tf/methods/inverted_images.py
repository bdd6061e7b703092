"""What becomes of inverted training images: a report, a picture, starts of the classes."""

import sys
from collections.abc import Callable

import numpy as np
from absl import logging

from cgt_tf.data.pipeline import to_uint8
from cgt_tf.methods.feature_transfer import FeatureTransfer
from cgt_tf.methods.inversion import Codes, InversionSettings, embeds
from cgt_tf.methods.inversion_cache import InversionCache, invert_images
from cgt_tf.methods.inversion_picture import draw_pairs, shown_pairs
from cgt_tf.networks.gan import Gan


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
        share: of the images of a class, in [0, 1); rounded down.
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
        source: whose tables the codes are mixtures of.
        codes: of n images.
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
