"""Labelled images, in memory or on disk, and few-shot subsets of them drawn by seed."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from cgt_tf.data.records import RecordImages
from cgt_tf.errors import InputError, first_few

ALL = "all"  # The one class of images without labels.
_CHUNK = 1024  # Images of one pass over a set.


@dataclasses.dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with labels.

    Attributes:
      images: uint8 [n, H, W, 3], range [0, 255]; an array, or images on disk that are read by
        index, as an array's are. What takes all of them reads them in `batches`.
      labels: int32 [n], range [0, len(class_names)).
      class_names: Name of each label; every one has at least one image.
      name: Where the images are from, for people; includes the split.

    Raises:
      InputError: shapes, dtypes or labels that do not fit, or a class without an image.
    """

    images: np.ndarray | RecordImages
    labels: np.ndarray
    class_names: tuple[str, ...]
    name: str

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise InputError(
                f"expected images uint8 [n, H, W, 3], got {images.dtype} {list(images.shape)}"
            )
        if labels.dtype != np.int32 or labels.shape != images.shape[:1]:
            raise InputError(
                f"expected labels int32 [{len(images)}], got {labels.dtype} {list(labels.shape)}"
            )
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(self.class_names):
            raise InputError(
                f"expected labels 0 to {len(self.class_names) - 1}, "
                f"got {labels.min()} to {labels.max()}"
            )
        check_no_empty_class(self.labels, self.class_names, self.name)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def counts(self) -> dict[str, int]:
        """Images per class, in class order."""
        numbers = np.bincount(self.labels, minlength=self.num_classes).tolist()
        return dict(zip(self.class_names, numbers, strict=True))

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of images, labels and class names, as hex; the name does not enter."""

        def compute() -> str:
            digest = hashlib.sha256()
            digest.update(repr((self.class_names, self.images.shape)).encode())
            digest.update(np.ascontiguousarray(self.labels, dtype="<i4"))
            for images in self.batches():
                digest.update(np.ascontiguousarray(images))
            return digest.hexdigest()

        return self._noted("fingerprint", compute)

    @functools.cached_property
    def class_digests(self) -> dict[str, str]:
        """SHA-256 of the images of each class, in their order, as hex."""

        def compute() -> dict[str, str]:
            digests = [hashlib.sha256() for _ in self.class_names]
            for start, images in zip(range(0, len(self), _CHUNK), self.batches(), strict=True):
                labels = self.labels[start : start + _CHUNK]
                for label in np.unique(labels):
                    digests[label].update(np.ascontiguousarray(images[labels == label]))
            names = enumerate(self.class_names)
            return {name: digests[label].hexdigest() for label, name in names}

        return self._noted("class digests", compute)

    def _noted(self, what: str, compute: Callable[[], Any]) -> Any:
        """What `compute` returns; of images on disk only where no earlier run has noted it."""
        if isinstance(self.images, np.ndarray):
            return compute()
        labels = hashlib.sha256(np.ascontiguousarray(self.labels, dtype="<i4")).hexdigest()
        return self.images.noted(f"{what}, {self.class_names}, labels {labels},", compute)

    def batches(self, size: int | None = None) -> Iterator[np.ndarray]:
        """All images in their order, `size` at a time."""
        size = size or _CHUNK
        for start in range(0, len(self), size):
            yield self.images[start : start + size]

    def subset(self, keep: np.ndarray, name: str) -> ImageSet:
        """The images where the mask `keep`, bool [n], holds, or of the numbers `keep`.

        Images on disk stay there.
        """
        return ImageSet(_select(self.images, keep), self.labels[keep], self.class_names, name)

    def without_labels(self) -> ImageSet:
        """The same images as one class, `ALL`."""
        labels = np.zeros_like(self.labels)
        return ImageSet(self.images, labels, (ALL,), f"{self.name}, without labels")

    def select_classes(self, names: Sequence[str]) -> ImageSet:
        """The images of some classes, which are numbered in the order of `names`.

        Raises:
          InputError: unknown, repeated or no names.
        """
        old = class_indices(self.class_names, names, self.name)
        labels = renumber(self.labels, old, self.num_classes)
        kept = labels >= 0
        images = _select(self.images, kept)
        return ImageSet(images, labels[kept], tuple(names), self.name)

    def few_shot(self, images_per_class: int, seed: int) -> tuple[ImageSet, ImageSet | None]:
        """Draws `images_per_class` images of every class.

        The draw of a class depends on the seed, its name and the order of its images only: it is
        the same whatever other classes are there, and the draw of k images is part of that of
        k + 1. Both parts keep the order of this set; the drawn images are in memory.

        Returns:
          The drawn images and the rest; None for the rest if a class has nothing left.

        Raises:
          InputError: a class has fewer images, or fewer than one was asked for.
        """
        chosen = draw_few_shot(self.labels, self.class_names, images_per_class, seed, self.name)
        name = f"{self.name} ({few_shot_name(images_per_class, seed)})"
        drawn = ImageSet(self.images[chosen], self.labels[chosen], self.class_names, name)
        rest = ~chosen
        if len(np.unique(self.labels[rest])) < self.num_classes:
            return drawn, None
        name = f"{self.name} (without {few_shot_name(images_per_class, seed)})"
        return drawn, self.subset(rest, name)


def few_shot_name(images_per_class: int, seed: int) -> str:
    """Short text that says which draw it was."""
    return f"{images_per_class} per class, seed {seed}"


def draw_few_shot(
    labels: np.ndarray, class_names: Sequence[str], images_per_class: int, seed: int, origin: str
) -> np.ndarray:
    """Mask, bool [n], of the images of a few-shot draw; see `ImageSet.few_shot`.

    Args:
      labels: int [n]; a negative label belongs to no class.
      class_names: Name of each label.
      images_per_class: Images to draw from each class.
      seed: Not negative.
      origin: Name of the data, for the error.
    """
    if images_per_class < 1 or seed < 0:
        raise InputError(
            "expected at least 1 image per class and a seed of at least 0, "
            f"got {images_per_class} and {seed}"
        )
    chosen = np.zeros(len(labels), dtype=bool)
    for label, name in enumerate(class_names):
        members = np.flatnonzero(labels == label)
        if len(members) < images_per_class:
            raise InputError(
                f"expected at least {images_per_class} images of class {name!r} in {origin}, "
                f"found {len(members)}"
            )
        chosen[members[_class_order(len(members), name, seed)[:images_per_class]]] = True
    return chosen


def class_indices(known: Sequence[str], names: Sequence[str], origin: str) -> list[int]:
    """Positions of `names` in `known`; `InputError` for unknown, repeated or no names."""
    if not names:
        raise InputError(f"expected at least 1 class of {origin}, got none")
    positions = {name: index for index, name in enumerate(known)}
    for name in names:
        if name not in positions:
            close = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or list(known[:5])
            raise InputError(
                f"expected a class of {origin}, got {name!r} "
                f"(it has {len(known)}, such as {', '.join(map(repr, close))})"
            )
    if len(set(names)) < len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise InputError(f"expected each class once, got {twice!r} more than once")
    return [positions[name] for name in names]


def renumber(labels: np.ndarray, old: Sequence[int], num_classes: int) -> np.ndarray:
    """Labels int32 [n] where old[i] has become i and every other label -1."""
    # One spare entry at the end takes the label -1 of unlabelled images.
    table = np.full(num_classes + 1, -1, dtype=np.int32)
    table[list(old)] = np.arange(len(old), dtype=np.int32)
    return table[labels]


def check_no_empty_class(labels: np.ndarray, class_names: Sequence[str], origin: str) -> None:
    """`InputError` that names the classes without an image."""
    numbers = np.bincount(labels[labels >= 0], minlength=len(class_names))
    empty = [name for name, number in zip(class_names, numbers, strict=True) if number == 0]
    if empty or not len(class_names):
        shown = first_few(map(repr, empty), 10)
        raise InputError(
            f"expected images of every class in {origin}, found none of {shown or 'any class'}"
        )


def _select(images: np.ndarray | RecordImages, keep: np.ndarray) -> np.ndarray | RecordImages:
    return images[keep] if isinstance(images, np.ndarray) else images.select(keep)


def _class_order(count: int, class_name: str, seed: int) -> np.ndarray:
    """Permutation of a class's images.

    NumPy keeps the raw stream of a bit generator the same for ever, unlike the methods of
    `numpy.random.Generator`; Python's own hash() differs from run to run.
    """
    words = np.frombuffer(hashlib.sha256(class_name.encode()).digest(), dtype="<u4")
    sequence = np.random.SeedSequence([seed, *words.tolist()])
    return np.argsort(np.random.PCG64(sequence).random_raw(count), kind="stable")
