"""A directory of class folders -> a prepared TFDS dataset, decoded once and cached by content."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import warnings

from absl import logging

from cgt_tf.data import decode, prepared
from cgt_tf.data.decoder import Decoder, unusable
from cgt_tf.data.notes import Notes
from cgt_tf.data.prepared import Manifest
from cgt_tf.data.scan import (
    Scan,
    content_digest,
    looks_one_level_too_high,
    scan_class_folders,
    scan_flat_folder,
)
from cgt_tf.errors import InputError
from cgt_tf.files import cache_root, staged_directory
from cgt_tf.progress import Progress


@dataclasses.dataclass(frozen=True)
class PreparedDataset:
    """A prepared dataset on disk; `reused` says that nothing had to be decoded."""

    path: pathlib.Path
    manifest: Manifest
    reused: bool


def prepare_folder(
    images_dir: str | os.PathLike[str],
    resolution: int,
    *,
    output_dir: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    drop_empty_classes: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    flat_class: str = "",
) -> PreparedDataset:
    """Decodes a directory of class folders into a TFDS dataset, or finds it already done.

    What counts as a class and as an image is said in `scan.py`, how an image is decoded in
    `decode.py` and what is written in `prepared.py`. Files that cannot be used are skipped and
    listed in the manifest.

    Args:
      images_dir: Directory of class folders.
      resolution: Side of the prepared images in pixels.
      output_dir: Where to write; None is `folders/<hash of the contents>` in the cache.
      cache_dir: See `files.cache_root`.
      drop_empty_classes: Leave out classes without a usable image, before classes are numbered.
      overwrite: Replace another prepared dataset at `output_dir`; never any other directory.
      progress: Show on stderr how far it is.
      flat_class: The images lie at the directory's top and are one class of this name.

    Returns:
      The dataset's path and manifest.

    Raises:
      UnusableClassError: a class has no usable image (unless dropped), or all have none.
      InputError: bad arguments or an `output_dir` that may not be written to. Nothing is
        written, or left half-written, on any error.
    """
    decode.check_resolution(resolution)
    if flat_class:
        scan = scan_flat_folder(images_dir, flat_class)
    else:
        scan = scan_class_folders(images_dir)
    if not flat_class and looks_one_level_too_high(scan):
        logging.warning(
            "%s: the classes %s hold their images in folders, several each: are these the classes?",
            images_dir,
            ", ".join(map(repr, scan.class_names[:5])),
        )
    target = None if output_dir is None else _check_output(output_dir, scan.root)
    # What is prepared elsewhere than in the cache leaves nothing there.
    notes = Notes(prepared.notes_directory(cache_dir)) if output_dir is None else None
    digest = _digest(scan, resolution, notes, progress)
    if target is None:
        target = cache_root(cache_dir) / "folders" / digest[:32]
    found = _readable_manifest(target, output_dir is None)
    damage = prepared.damage(target, found.files, notes) if found else None
    if damage and output_dir is None:
        logging.warning("%s is damaged (%s) and is prepared again", target, damage)
    elif damage and not overwrite:
        raise InputError(
            f"expected an undamaged dataset or the option overwrite, got {target}: {damage}"
        )
    if found is not None and found.content_sha256 == digest and not damage:
        if found.dropped_classes and not drop_empty_classes:
            raise unusable(found.dropped_classes, found.skipped)
        if notes:
            notes.save()
        return PreparedDataset(target, found, reused=True)
    if found is not None and output_dir is not None and not overwrite:
        raise InputError(
            f"expected a new or empty output directory or the option overwrite, got {target} "
            f"with another prepared dataset of {len(found.class_names)} classes at "
            f"{found.resolution}x{found.resolution}"
        )
    try:
        manifest = _build(scan, target, resolution, digest, drop_empty_classes, progress)
    except OSError:
        # Another process of the same training may have finished the same cache entry first.
        found = prepared.read_manifest(target)
        if found is None or found.content_sha256 != digest:
            raise
        return PreparedDataset(target, found, reused=True)
    if notes:
        notes.save()
    return PreparedDataset(target, manifest, reused=False)


def _digest(scan: Scan, resolution: int, notes: Notes | None, progress: bool) -> str:
    facts = (decode.RESIZE_RULE, str(decode.MINIMUM_SIDE), str(resolution))

    def compute() -> str:
        with Progress("reading", len(scan.files), "file", shown=progress) as bar:
            return content_digest(scan, bar.over(scan.files), facts)

    if notes is None:
        return compute()
    listed = hashlib.sha256(repr((facts, scan.class_names)).encode())
    for item in (*scan.skipped, *scan.files):
        listed.update(repr(item).encode(errors="backslashreplace"))
    paths = [file.path for file in scan.files]
    key = f"contents of {scan.root} at {resolution}"
    return notes.value(key, paths, compute, listed.hexdigest())


def _readable_manifest(target: pathlib.Path, cached: bool) -> Manifest | None:
    """The manifest, if any; a damaged one is none in the cache, and an error elsewhere."""
    try:
        return prepared.read_manifest(target)
    except InputError as error:
        if not cached:
            raise
        logging.warning("%s is damaged (%s) and is prepared again", target, error)
        return None


def _check_output(output_dir: str | os.PathLike[str], images: pathlib.Path) -> pathlib.Path:
    target = pathlib.Path(output_dir).expanduser().resolve()
    if target == images or images in target.parents or target in images.parents:
        # Inside the images it would be a class of the next run, and around them replacing it
        # would remove them.
        raise InputError(
            f"expected an output directory apart from the images in {images}, got {target}"
        )
    if target.exists() and not target.is_dir():
        raise InputError(f"expected an output directory, found a file at {target}")
    if target.is_dir() and any(target.iterdir()) and prepared.read_manifest(target) is None:
        raise InputError(
            f"expected a new or empty output directory, got {target} with files that are not a "
            "prepared dataset"
        )
    return target


def _build(
    scan: Scan,
    target: pathlib.Path,
    resolution: int,
    digest: str,
    drop_empty_classes: bool,
    progress: bool,
) -> Manifest:
    decoder = Decoder(scan, resolution)
    with staged_directory(target) as staging, warnings.catch_warnings():
        # Pillow warns of oddities in files that it reads well; what matters is in `skipped`.
        warnings.filterwarnings("ignore", module="PIL")
        prepared.write_records(
            staging, decoder.examples(progress), decoder.finish(drop_empty_classes), resolution
        )
        return prepared.write_manifest(
            staging,
            class_names=tuple(scan.class_names[index] for index in decoder.counts),
            counts=tuple(decoder.counts.values()),
            skipped=tuple(sorted(decoder.skipped)),
            dropped_classes=decoder.empty_classes(),
            enlarged=decoder.enlarged,
            resolution=resolution,
            resize_rule=decode.RESIZE_RULE,
            content_sha256=digest,
        )
