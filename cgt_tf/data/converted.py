"""Images by number for sets that memory does not hold: prepared data itself, or a copy made once.

    <cache>/converted/<hash of the contents>/    a split at one resolution, as in `prepared.py`

What `cgt-prepare` wrote at the wanted resolution is read where it is. Any other dataset is copied:
all images of a split in stored order, brought to the resolution by the rule of `decode.py`, as
ArrayRecord. Only a batch of images is in memory at a time.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import fcntl
import hashlib
import io
import itertools
import json
import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
from absl import logging
from PIL import Image

from cgt_tf.data import decode, prepared, tfds_reader
from cgt_tf.data.notes import Notes
from cgt_tf.data.prepared import Manifest
from cgt_tf.data.records import RecordImages, is_indexed
from cgt_tf.errors import InputError
from cgt_tf.files import cache_root, sha256, sha256_of, staged_directory
from cgt_tf.progress import Progress

_WORKERS = min(8, os.cpu_count() or 1)
_CHUNK = 16 * _WORKERS  # Images in flight.


@dataclasses.dataclass(frozen=True)
class Indexed:
    """A split of a dataset whose images can be read by number."""

    builder: tfds_reader.Builder
    manifest: Manifest
    notes: Notes

    def labels(self) -> np.ndarray:
        """int32 [n]; -1 where an image has no label."""
        return tfds_reader.read_labels(self.builder, "train")

    def images(self, rows: np.ndarray) -> RecordImages:
        """The images of these numbers, int64 [n]."""
        files = json.dumps(self.manifest.files, sort_keys=True)
        content = sha256_of(files)
        return RecordImages(self.builder, rows, self.manifest.resolution, content, self.notes)


def find(
    builders: Sequence[tfds_reader.Builder],
    split: str,
    resolution: int,
    cache_dir: str | os.PathLike[str] | None,
) -> Indexed | None:
    """What can be read by number as it is: no file of a dataset is hashed or copied for it.

    Args:
      builders: Builders of datasets whose classes follow each other.
      split: Split of each.
      resolution: Resolution of the images.
      cache_dir: See `files.cache_root`.
    """
    notes = Notes(prepared.notes_directory(cache_dir))
    if len(builders) == 1 and split == "train" and is_indexed(builders[0]):
        manifest = prepared.read_manifest(pathlib.Path(builders[0].data_dir))
        if manifest is not None and manifest.resolution == resolution:
            return Indexed(builders[0], manifest, notes)
    origin = _Origin(tuple(builders), split, resolution)
    digest = notes.known(origin.key, origin.files)
    return _opened(_target(digest, cache_dir), notes) if isinstance(digest, str) else None


def convert(
    builders: Sequence[tfds_reader.Builder],
    split: str,
    resolution: int,
    cache_dir: str | os.PathLike[str] | None,
    progress: bool = True,
) -> Indexed:
    """The copy of a split, made where there is none; arguments as `find`.

    Processes that share a cache wait for the one that makes it.

    Raises:
      InputError: images that cannot be read, or no place to write to; nothing is left then.
    """
    notes = Notes(prepared.notes_directory(cache_dir))
    origin = _Origin(tuple(builders), split, resolution)
    digest = notes.value(origin.key, origin.files, lambda: origin.digest(progress))
    target = _target(digest, cache_dir)
    with _locked(target.parent):
        found = _opened(target, notes)
        if found is None:
            logging.info("%s is copied to %s", origin.key, target)
            _build(origin, target, digest, progress)
            found = _opened(target, notes)
    notes.save()
    return found


def read_labels(builders: Sequence[tfds_reader.Builder], split: str) -> np.ndarray:
    """Labels int32 [n] of a split, counted on from dataset to dataset; -1 for none."""
    parts, offset = [], 0
    for builder in builders:
        part = tfds_reader.read_labels(builder, split)
        parts.append(np.where(part < 0, -1, part + offset).astype(np.int32))
        offset += len(tfds_reader.class_names(builder))
    return np.concatenate(parts)


@dataclasses.dataclass(frozen=True)
class _Origin:
    """A split of several datasets, at a resolution."""

    builders: tuple[tfds_reader.Builder, ...]
    split: str
    resolution: int

    @property
    def key(self) -> str:
        places = ", ".join(str(builder.data_dir) for builder in self.builders)
        return f"split {self.split} of {places} at {self.resolution}x{self.resolution}"

    @property
    def files(self) -> list[pathlib.Path]:
        """All that decides the images, but the resolution."""
        parts = (tfds_reader.split_files(builder, self.split) for builder in self.builders)
        return [path for part in parts for path in part]

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(name for part in self.builders for name in tfds_reader.class_names(part))

    def digest(self, progress: bool) -> str:
        """SHA-256 of all that decides the copy."""
        facts = (decode.RESIZE_RULE, decode.MINIMUM_SIDE, self.resolution, self.split)
        digest = hashlib.sha256(repr((facts, self.class_names)).encode())
        files = self.files
        with Progress("reading", len(files), "file", shown=progress) as bar:
            for path in bar.over(files):
                try:
                    digest.update(sha256(path).encode())
                except OSError as error:
                    raise InputError(
                        f"expected the files of a dataset, got {path}: {error.strerror}"
                    ) from None
        return digest.hexdigest()

    def images(self) -> Iterator[np.ndarray]:
        for builder in self.builders:
            everything = np.ones(builder.info.splits[self.split].num_examples, bool)
            yield from tfds_reader.iterate_images(builder, self.split, everything, self.resolution)


def _target(digest: str, cache_dir: str | os.PathLike[str] | None) -> pathlib.Path:
    return cache_root(cache_dir) / "converted" / digest[:32]


def _opened(target: pathlib.Path, notes: Notes) -> Indexed | None:
    """A copy that is there and as it was written."""
    try:
        manifest = prepared.read_manifest(target)
        reason = prepared.damage(target, manifest.files, notes) if manifest else None
    except InputError as error:
        manifest, reason = None, str(error)
    if reason:
        logging.warning("%s is damaged (%s) and is prepared again", target, reason)
    if reason or manifest is None:
        return None
    notes.save()
    return Indexed(tfds_reader.open_directory(target), manifest, notes)


def _build(origin: _Origin, target: pathlib.Path, digest: str, progress: bool) -> None:
    labels, names = read_labels(origin.builders, origin.split), origin.class_names
    counts = np.bincount(labels[labels >= 0], minlength=len(names)).tolist()
    with staged_directory(target) as staging:
        examples = zip(_encoded(origin, len(labels), progress), labels.tolist(), strict=True)
        prepared.write_records(staging, examples, names, origin.resolution)
        prepared.write_manifest(
            staging,
            class_names=names,
            counts=tuple(counts),
            skipped=(),
            dropped_classes=(),
            enlarged=0,  # Told when they were read.
            resolution=origin.resolution,
            resize_rule=decode.RESIZE_RULE,
            content_sha256=digest,
        )


def _encoded(origin: _Origin, total: int, progress: bool) -> Iterator[bytes]:
    """All images of a split as PNG, in order."""
    images, title = origin.images(), f"preparing at {origin.resolution}x{origin.resolution}"
    with (
        concurrent.futures.ThreadPoolExecutor(_WORKERS) as pool,
        Progress(title, total, shown=progress) as bar,
    ):
        while chunk := list(itertools.islice(images, _CHUNK)):
            yield from pool.map(_png, chunk)
            bar.add(len(chunk))


def _png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


@contextlib.contextmanager
def _locked(directory: pathlib.Path) -> Iterator[None]:
    """One process at a time makes copies; the system frees the lock of one that dies."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = (directory / ".lock").open("w")
    except OSError as error:
        raise InputError(
            f"expected a place to write to, got {directory}: {error.strerror or error}"
        ) from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
