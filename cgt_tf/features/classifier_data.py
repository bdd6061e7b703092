"""Images of a classifier: those it is trained on, and others to measure its accuracy on."""

from collections.abc import Sequence

import numpy as np

from cgt_tf.data import image_set
from cgt_tf.data.image_set import ImageSet
from cgt_tf.data.sources import load_train_and_heldout
from cgt_tf.errors import InputError


def load(
    specs: Sequence[str],
    *,
    resolution: int,
    images_per_class: int = 0,
    seed: int = 0,
    cache_dir: str | None = None,
) -> tuple[ImageSet, ImageSet]:
    """Training and held-out images of all data specs, their classes numbered one after another.

    Held out is a spec's test split, else a share of its images; see `hold_out`.

    Args:
        specs: Data specs.
        resolution: Side of the images, in pixels.
        images_per_class: Training images of each class; 0: all.
        seed: Seed of both draws.
        cache_dir: See `files.cache_root`.
    """
    pairs = []
    for spec in specs:
        train, heldout = load_train_and_heldout(
            spec,
            resolution=resolution,
            images_per_class=images_per_class,
            seed=seed,
            cache_dir=cache_dir,
        )
        pairs.append((train, heldout) if heldout else hold_out(train, seed))
    train, heldout = (join(list(sets)) for sets in zip(*pairs, strict=True))
    return train, heldout


def hold_out(images: ImageSet, seed: int) -> tuple[ImageSet, ImageSet]:
    """Splits off a fifth of every class, at least one image.

    Raises:
        InputError: a class with a single image.
    """
    held = np.zeros(len(images), bool)
    for label, (name, count) in enumerate(images.counts.items()):
        if count < 2:
            raise InputError(
                f"expected at least 2 images of class {name!r} in {images.name}, one to be held "
                f"out, got {count}"
            )
        members = np.where(images.labels == label, 0, -1)
        held |= image_set.draw_few_shot(members, [name], max(count // 5, 1), seed, images.name)

    rest = images.subset(~held, f"{images.name} (without a fifth)")
    return rest, images.subset(held, f"{images.name} (a fifth, seed {seed})")


def join(sets: list[ImageSet]) -> ImageSet:
    """One set of several with distinct classes; labels count on from set to set.

    Several are joined in memory; one stays where it is.
    """
    if len(sets) == 1:
        return sets[0]
    names = tuple(name for images in sets for name in images.class_names)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"expected different classes in the data specs, got {twice!r} twice")
    firsts = np.cumsum([0, *(images.num_classes for images in sets)])[:-1]
    labels = [images.labels + first for images, first in zip(sets, firsts, strict=True)]
    return ImageSet(
        np.concatenate([images.images for images in sets]),
        np.concatenate(labels).astype(np.int32),
        names,
        " + ".join(images.name for images in sets),
    )
