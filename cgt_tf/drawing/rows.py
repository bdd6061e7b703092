"""Rows of images: which ones, drawn, and laid out as one picture."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from cgt_tf.drawing.sampler import Sampler, labels_of
from cgt_tf.errors import InputError
from cgt_tf.pictures import labelled_grid

_MOST_PIXELS = 1 << 28
_TITLE_WIDTH = 320  # Pixels.


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """Images that are to be drawn beside each other.

    Attributes:
        title: What is written at their left.
        classes: Labels int64 [c], or weights of all classes float32 [c, K].
        seeds: Seeds of their latents, int64 [c].
        truncations: Of their latents and statistics, float64 [c].
        told: What each of them is of, as JSON, besides seed and truncation.
    """

    title: str
    classes: np.ndarray
    seeds: np.ndarray
    truncations: np.ndarray
    told: tuple[dict[str, Any], ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Strip:
    """A row that is drawn.

    Attributes:
        title: As of `Row`.
        images: uint8 [c, R, R, 3].
        facts: What each of them is of, as JSON.
    """

    title: str
    images: np.ndarray
    facts: tuple[dict[str, Any], ...]


def create_row(
    title: str,
    classes: np.ndarray,
    seeds: Sequence[int] | int,
    truncations: Sequence[float] | float,
    told: Sequence[dict[str, Any]],
) -> Row:
    """A row of as many images as `classes` has; one seed or truncation counts for all."""
    seeds = np.broadcast_to(np.asarray(seeds, np.int64), len(classes))
    truncations = np.broadcast_to(np.asarray(truncations, np.float64), len(classes))
    return Row(title, np.asarray(classes), seeds, truncations, tuple(told))


def class_row(
    sampler: Sampler,
    name: str,
    seeds: Sequence[int] | int,
    truncations: Sequence[float] | float = 1.0,
    title: str = "",
) -> Row:
    """Images of one class, for each seed, or each truncation of one seed, in turn.

    Raises:
        InputError: a class that the model does not have.
    """
    count = max(np.size(seeds), np.size(truncations))
    (label,) = labels_of(sampler, [name])
    told = [{"class": name, "label": int(label)}] * count
    return create_row(title or name, np.repeat(label, count), seeds, truncations, told)


def mixed_row(
    sampler: Sampler,
    title: str,
    mixtures: Sequence[dict[str, float]],
    seeds: Sequence[int] | int,
    truncation: float = 1.0,
) -> Row:
    """Images of mixtures of classes, {name: weight}, each with its seed.

    Raises:
        InputError: a class that the model does not have.
    """
    weights = np.zeros((len(mixtures), len(sampler.class_names)), np.float32)
    for row, mixture in zip(weights, mixtures, strict=True):
        row[labels_of(sampler, list(mixture))] = list(mixture.values())
    told = [{"class": None, "label": None, "weights": mixture} for mixture in mixtures]
    return create_row(title, weights, seeds, truncation, told)


def between(first: str, second: str, count: int) -> list[dict[str, float]]:
    """`count` mixtures from the one class to the other, both ends among them."""
    return [
        {first: round(1 - share, 6), second: round(share, 6)}
        for share in np.linspace(0, 1, count).tolist()
    ]


def draw(sampler: Sampler, rows: Sequence[Row]) -> list[Strip]:
    """Draws rows, all of labels or all of weights.

    Raises:
        InputError: weights, and classes of this model cannot be mixed.
    """
    classes, seeds, truncations = (
        np.concatenate([getattr(row, name) for row in rows])
        for name in ("classes", "seeds", "truncations")
    )
    function = sampler.sample if classes.ndim == 1 else sampler.mix
    images = function(classes, seeds, truncations)
    strips, start = [], 0
    for row in rows:
        stop = start + len(row.seeds)
        numbers = zip(row.told, row.seeds.tolist(), row.truncations.tolist(), strict=True)
        facts = tuple({**told, "seed": s, "truncation": t} for told, s, t in numbers)
        strips.append(Strip(row.title, images[start:stop], facts))
        start = stop
    return strips


def check_size(rows: Sequence[Row], resolution: int, scale: int) -> None:
    """`InputError` for rows of more than 2^28 pixels in all, each enlarged by `scale`."""
    columns = len(rows[0].seeds)
    pixels = len(rows) * columns * (resolution * scale) ** 2
    if pixels > _MOST_PIXELS:
        raise InputError(
            f"expected a picture of at most {_MOST_PIXELS:,} pixels, got {pixels:,}: "
            f"{len(rows)} rows, {columns} columns, enlarged {scale} times"
        )


def picture_of(strips: Sequence[Strip], scale: int) -> Image.Image:
    """Strips of one length below each other, with their titles at the left.

    Args:
        strips: At least one.
        scale: Whole factor that pixels are enlarged by.
    """
    images = np.concatenate([strip.images for strip in strips])
    titles = [strip.title for strip in strips]
    return labelled_grid(images, titles, len(strips[0].images), scale, _TITLE_WIDTH)


def sample_grid(
    sampler: Sampler, names: Sequence[str], seeds: Sequence[int], truncation: float, scale: int
) -> Image.Image:
    """A picture of a row for each class, with its name, and a column for each seed.

    Args:
        sampler: Draws the images.
        names: Names of its classes.
        seeds: int64.
        truncation: In (0, 1].
        scale: Whole factor that pixels are enlarged by.

    Raises:
        InputError: a class that the model does not have, or a picture above 2^28 pixels.
    """
    rows = [class_row(sampler, name, seeds, truncation) for name in names]
    check_size(rows, sampler.resolution, scale)
    return picture_of(draw(sampler, rows), scale)
