"""Data specs: the text that names images on a command line -> an `ImageSet`.

    bundled:glyphs[/subset][/split]               subset source, target (the default) or all
    tfds:<name>[/config][:version][/split]        any TFDS dataset with an image and a class label
    <directory of class folders>                  prepared in the cache, see folders.py
    <prepared dataset directory>                  made by cgt-prepare, or by TFDS itself

Only TFDS specs are ambiguous: in `tfds:a/b` without a version, `b` is a split if it begins with
train, test, validation, val, all or unlabeled, else a config. `tfds:a/b/c` and `tfds:a:1.0.0/c`
always end with a split, which may be a slice such as `train[:80%]`.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Sequence

import numpy as np
from absl import logging

from cgt_tf.config import MEMORY_GB
from cgt_tf.data import converted, decode, image_set, tfds_reader
from cgt_tf.data.decoder import describe_skipped
from cgt_tf.data.folders import prepare_folder
from cgt_tf.data.image_set import ImageSet
from cgt_tf.data.notes import Notes
from cgt_tf.data.prepared import (
    MANIFEST_NAME,
    damage,
    notes_directory,
    read_manifest,
)
from cgt_tf.data.records import RecordImages
from cgt_tf.errors import InputError
from cgt_tf.files import cache_root

HELDOUT_SPLITS = ("test", "validation")
MINIMUM_LEFT_OVER = 50  # Images per class; with fewer no held-out metric means anything.

_GLYPH_SUBSETS = {"source": ("source",), "target": ("target",), "all": ("source", "target")}
_SPLIT_NAME = re.compile(r"(train|test|validation|val|all|unlabeled)([^a-z]|$)")


@dataclasses.dataclass(frozen=True)
class _Source:
    """An opened spec: one or more TFDS builders whose classes follow each other."""

    name: str
    builders: tuple[tfds_reader.Builder, ...]
    split: str | None  # As the spec names it.
    resolution: int  # That images are read at.
    memory_gb: float
    cache_dir: str | os.PathLike[str] | None

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(name for part in self.builders for name in tfds_reader.class_names(part))

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.builders[0].info.splits)

    def labels(self, split: str) -> np.ndarray:
        """int32 [n], in stored order; -1 where an image has no label."""
        indexed = converted.find(self.builders, split, self.resolution, self.cache_dir)
        if indexed:
            return indexed.labels()
        return converted.read_labels(self.builders, split)

    def read(self, split: str, wanted: np.ndarray) -> np.ndarray | RecordImages:
        """Images uint8 [k, R, R, 3] where the mask `wanted`, bool [n], holds.

        More than `memory_gb` stay on disk.
        """
        place = (self.builders, split, self.resolution, self.cache_dir)
        indexed, rows = converted.find(*place), np.flatnonzero(wanted)
        if len(rows) * self.resolution**2 * 3 / 1e9 > self.memory_gb:
            return (indexed or converted.convert(*place)).images(rows)
        if indexed:
            return indexed.images(rows)[:]
        parts, offset = [], 0
        for builder in self.builders:
            count = builder.info.splits[split].num_examples
            mask = wanted[offset : offset + count]
            parts.append(tfds_reader.read_images(builder, split, mask, self.resolution))
            offset += count
        return np.concatenate(parts) if len(parts) > 1 else parts[0]


def load_images(
    spec: str,
    *,
    resolution: int,
    split: str | None = None,
    classes: Sequence[str] = (),
    images_per_class: int = 0,
    seed: int = 0,
    cache_dir: str | os.PathLike[str] | None = None,
    memory_gb: float = MEMORY_GB,
) -> ImageSet:
    """Loads the images that a spec names.

    Only the chosen images are decoded and held. More than `memory_gb` of them stay on disk, from
    which the set reads what is asked for; unless they are prepared data at this resolution, the
    whole split is copied into the cache first, once (`converted.py`).

    Args:
      spec: See the head of this file.
      resolution: Side of the images; others are cropped and resized by the rule of decode.py.
      split: None is the split that the spec names, else "train".
      classes: Names of the classes to take, in the order of their labels; () is all.
      images_per_class: Size of the few-shot draw, see `ImageSet.few_shot`; 0 is all images.
      seed: Seed of that draw.
      cache_dir: See `files.cache_root`.
      memory_gb: 1e9 bytes of images that the set may take in memory.

    Raises:
      InputError: unknown spec, split or class, too few images, or data that cannot be read.
    """
    source = _open(spec, decode.check_resolution(resolution), cache_dir, memory_gb)
    if split is not None and source.split is not None and split != source.split:
        raise InputError(f"expected split {split!r}, got the spec {spec!r} for {source.split!r}")
    split = split or source.split or "train"
    names, labels = _select(source, split, classes)
    return _load(source, split, names, labels, images_per_class, seed)[0]


def load_train_and_heldout(
    spec: str,
    *,
    resolution: int,
    classes: Sequence[str] = (),
    images_per_class: int = 0,
    seed: int = 0,
    cache_dir: str | os.PathLike[str] | None = None,
    heldout_spec: str = "",
    memory_gb: float = MEMORY_GB,
) -> tuple[ImageSet, ImageSet | None]:
    """Loads training images and, where there are any, held-out images of the same classes.

    The held-out images are the first of these: what `heldout_spec` names; the spec's own split
    `test` or else `validation`, if it has images of every class; what the few-shot draw left
    over, if that is `MINIMUM_LEFT_OVER` images of every class.

    Returns:
      Training images, and held-out images with the same classes in the same order, or None.

    Raises:
      InputError: as `load_images`; also for a class that `heldout_spec` lacks.
    """
    source = _open(spec, decode.check_resolution(resolution), cache_dir, memory_gb)
    split = source.split or "train"
    names, labels = _select(source, split, classes)
    train, rest = _load(source, split, names, labels, images_per_class, seed)
    if heldout_spec:
        other = _open(heldout_spec, resolution, cache_dir, memory_gb)
        candidates = [name for name in (*HELDOUT_SPLITS, "train") if name in other.splits]
        other_split = other.split or next(iter(candidates), "test")
        try:
            _, other_labels = _select(other, other_split, names)
        except InputError as error:
            raise InputError(f"held-out images (--config.data.heldout): {error}") from None
        return train, _load(other, other_split, names, other_labels)[0]
    # Of `train+test`, neither part is held out.
    used = set(re.split(r"\W+", split))
    for own in HELDOUT_SPLITS:
        if own in source.splits and not used & {own, "all"}:
            own_labels = _chosen_labels(source, own, names)
            if len(np.unique(own_labels[own_labels >= 0])) == len(names):
                return train, _load(source, own, names, own_labels)[0]
    numbers = np.bincount(labels[rest & (labels >= 0)], minlength=len(names))
    if numbers.min() < MINIMUM_LEFT_OVER:
        return train, None
    left = _load(source, split, names, np.where(rest, labels, -1))[0]
    draw = image_set.few_shot_name(images_per_class, seed)
    return train, dataclasses.replace(left, name=f"{left.name} (without {draw})")


def _select(
    source: _Source, split: str, classes: Sequence[str]
) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the chosen classes, and labels int32 [n] among them, -1 for the others."""
    tfds_reader.check_split(source.builders[0], split, source.name)
    names = tuple(classes) or source.class_names
    labels = _chosen_labels(source, split, names)
    image_set.check_no_empty_class(labels, names, f"{source.name}, split {split}")
    return names, labels


def _chosen_labels(source: _Source, split: str, names: Sequence[str]) -> np.ndarray:
    known = source.class_names
    old = image_set.class_indices(known, names, source.name)
    return image_set.renumber(source.labels(split), old, len(known))


def _load(
    source: _Source,
    split: str,
    names: tuple[str, ...],
    labels: np.ndarray,
    images_per_class: int = 0,
    seed: int = 0,
) -> tuple[ImageSet, np.ndarray]:
    """The chosen images, and the mask, bool [n], of the ones that were left over."""
    name = f"{source.name}, split {split}"
    chosen = labels >= 0
    if images_per_class:
        chosen = image_set.draw_few_shot(labels, names, images_per_class, seed, name)
        name = f"{name} ({image_set.few_shot_name(images_per_class, seed)})"
    images = source.read(split, chosen)
    return ImageSet(images, labels[chosen], names, name), ~chosen


def _open(
    spec: str, resolution: int, cache_dir: str | os.PathLike[str] | None, memory_gb: float
) -> _Source:
    name, builders, split = _opened(spec, resolution, cache_dir)
    return _Source(name, builders, split, resolution, memory_gb, cache_dir)


def open_tfds(spec: str) -> tfds_reader.Builder:
    """The dataset of a spec `tfds:...`; InputError as `tfds_reader.open_named`."""
    return tfds_reader.open_named(_split_tfds_spec(spec)[0])


def _opened(
    spec: str, resolution: int, cache_dir: str | os.PathLike[str] | None
) -> tuple[str, tuple[tfds_reader.Builder, ...], str | None]:
    """Name, builders and split of a spec."""
    if spec.startswith("bundled:"):
        return _open_bundled(spec, cache_dir)
    if spec.startswith("tfds:"):
        return spec, (open_tfds(spec),), _split_tfds_spec(spec)[1]
    path = pathlib.Path(spec).expanduser()
    if not spec or not path.is_dir():
        raise InputError(
            "expected bundled:glyphs[/subset], tfds:<name>, a directory of class folders or a "
            f"prepared dataset, got {spec!r}"
        )
    if not (path / "features.json").is_file():
        done = prepare_folder(path, resolution, cache_dir=cache_dir)
        logging.info("%s is prepared in %s", spec, done.path)
        for line in (*done.manifest.warnings, describe_skipped(done.manifest.skipped)):
            if line:
                logging.warning("%s: %s", spec, line)
        path = done.path
    else:
        _check_prepared(path, Notes(notes_directory(cache_dir)))
    return spec, (tfds_reader.open_directory(path),), None


def _check_prepared(path: pathlib.Path, notes: Notes) -> None:
    """`InputError` for a dataset of cgt-prepare whose files are not the ones it wrote."""
    if not (path / MANIFEST_NAME).is_file():
        return
    manifest = read_manifest(path)
    reason = damage(path, manifest.files, notes) if manifest else "a file is missing"
    if reason:
        raise InputError(f"expected an undamaged dataset in {path}: {reason}")
    notes.save()


def _open_bundled(
    spec: str, cache_dir: str | os.PathLike[str] | None
) -> tuple[str, tuple[tfds_reader.Builder, ...], str | None]:
    from cgt_tf.data import glyphs  # Matplotlib takes a while; only this spec needs it.

    name, *parts = spec.removeprefix("bundled:").split("/")
    subset = parts[0] if parts else "target"
    split = parts[1] if len(parts) == 2 else None
    if name != "glyphs" or subset not in _GLYPH_SUBSETS or len(parts) > 2:
        raise InputError(
            f"expected bundled:glyphs[/{'|'.join(_GLYPH_SUBSETS)}][/{'|'.join(glyphs.SPLITS)}], "
            f"got {spec!r}"
        )
    data_dir = cache_root(cache_dir) / "tfds"
    tfds_reader.show_progress_on_terminals_only()
    builders = tuple(glyphs.prepare(part, data_dir) for part in _GLYPH_SUBSETS[subset])
    return f"bundled:glyphs/{subset}", builders, split


def _split_tfds_spec(spec: str) -> tuple[str, str | None]:
    """TFDS name, with config and version, and the split or None."""
    # The split goes first: a slice such as train[:80%] has a colon of its own.
    parts = spec.removeprefix("tfds:").split("/")
    ends_with_split = len(parts) == 3 or (
        len(parts) == 2 and (":" in parts[0] or _SPLIT_NAME.match(parts[1]) is not None)
    )
    name, split = (parts[:-1], parts[-1]) if ends_with_split else (parts, None)
    if not all(parts) or len(parts) > 3:
        raise InputError(f"expected tfds:<name>[/config][:version][/split], got {spec!r}")
    return "/".join(name), split
