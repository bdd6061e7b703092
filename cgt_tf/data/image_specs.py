"""Two sets of images to compare, from any data specs or flat folders, at one resolution.

Besides the specs of `data.sources`, a directory with image files at its top and no class folders
is a set of one class. Images are compared as they are: without a resolution both sides must have
one and the same square size, and nothing is cropped or resized.
"""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import logging
from PIL import Image

from cgt_tf.config import MEMORY_GB
from cgt_tf.data import decode, scan, sources, tfds_reader
from cgt_tf.data.decoder import describe_skipped
from cgt_tf.data.folders import prepare_folder
from cgt_tf.data.image_set import ImageSet
from cgt_tf.data.sources import load_images
from cgt_tf.errors import InputError

FLAT_CLASS = "images"
_GLYPHS_RESOLUTION = 32


def load_pair(
    real: str,
    fake: str,
    *,
    resolution: int = 0,
    classes: Sequence[str] = (),
    cache_dir: str | os.PathLike[str] | None = None,
) -> tuple[ImageSet, ImageSet]:
    """Loads real and generated images at one size.

    Args:
        real: Data spec or flat folder of the real images.
        fake: The same of the generated ones.
        resolution: Side to bring all images to by the rule of `data.decode`; 0: the size that
            they have.
        classes: Names of the classes to take from both; () is all.
        cache_dir: See `files.cache_root`.

    Raises:
        InputError: sizes that differ or are unknown, without a resolution; and as `load_images`.
    """
    if not resolution:
        sizes = {"real": native_resolution(real), "fake": native_resolution(fake)}
        known = {size for size in sizes.values() if size}
        if len(known) != 1:
            shown = " and ".join(f"{side or 'unknown'} ({name})" for name, side in sizes.items())
            raise InputError(
                f"expected real and fake images of one size, or --resolution, got sides of {shown}"
            )
        (resolution,) = known
    return tuple(
        load(spec, resolution, classes=classes, cache_dir=cache_dir) for spec in (real, fake)
    )


def load(
    spec: str,
    resolution: int,
    *,
    classes: Sequence[str] = (),
    cache_dir: str | os.PathLike[str] | None = None,
    memory_gb: float = MEMORY_GB,
) -> ImageSet:
    """As `data.sources.load_images`; also takes a flat folder of images."""
    options = {"resolution": resolution, "cache_dir": cache_dir, "memory_gb": memory_gb}
    if not _is_flat(spec):
        return load_images(spec, classes=classes, **options)
    if classes:
        raise InputError(f"expected class folders for the classes {list(classes)}, got {spec}")
    paths, skipped = scan.flat_image_files(Path(spec).expanduser()), []
    if len(paths) * resolution**2 * 3 / 1e9 > memory_gb:
        done = prepare_folder(spec, resolution, cache_dir=cache_dir, flat_class=FLAT_CLASS)
        if done.manifest.skipped:
            logging.warning("%s: %s", spec, describe_skipped(done.manifest.skipped))
        return dataclasses.replace(load_images(str(done.path), **options), name=spec)
    images, count = np.empty((len(paths), resolution, resolution, 3), np.uint8), 0
    for path in paths:
        try:
            images[count] = decode.decode_image(path, resolution)
            count += 1
        except decode.UnreadableImage as error:
            skipped.append(f"{path.name}: {error.reason}")
    if skipped:
        logging.warning("%s: skipped %d files: %s", spec, len(skipped), "; ".join(skipped))
    if not count:
        raise InputError(f"expected at least 1 usable image in {spec}, found none")
    return ImageSet(images[:count], np.zeros(count, np.int32), (FLAT_CLASS,), spec)


def native_resolution(spec: str) -> int:
    """Side of the images of a spec, 0 where it is known only by reading them.

    Raises:
        InputError: no such directory, or a folder of images that are not all of one square size.
    """
    if spec.startswith("bundled:"):
        return _GLYPHS_RESOLUTION
    if spec.startswith("tfds:"):
        return tfds_reader.image_side(sources.open_tfds(spec))
    root = Path(spec).expanduser()
    if not root.is_dir():
        raise InputError(f"expected a data spec or a directory of images, got {spec!r}")
    if (root / "features.json").is_file():
        return tfds_reader.image_side(tfds_reader.open_directory(root))
    if _is_flat(spec):
        paths = scan.flat_image_files(root)
    else:
        paths = [file.path for file in scan.scan_class_folders(root).files]
    return _common_side(paths, spec)


def _common_side(paths: list[Path], spec: str) -> int:
    sizes: dict[tuple[int, int], str] = {}
    for path in paths:
        try:
            with Image.open(path, formats=decode.FORMATS) as image:
                sizes.setdefault(image.size, path.name)
        except (OSError, Image.DecompressionBombError):
            continue  # Reported when the images are read.
    if len(sizes) > 1 or any(width != height for width, height in sizes):
        shown = ", ".join(f"{w}x{h} ({name})" for (w, h), name in list(sizes.items())[:3])
        raise InputError(
            f"expected square images of one size in {spec}, or --resolution, got {shown}"
        )
    return next(iter(sizes))[0] if sizes else 0


def _is_flat(spec: str) -> bool:
    """Whether a spec is a directory with image files at its top and no class folders."""
    if spec.startswith(("bundled:", "tfds:")):
        return False
    root = Path(spec).expanduser()
    if not root.is_dir() or (root / "features.json").is_file():
        return False
    folders = any(path.is_dir() and not path.name.startswith(".") for path in root.iterdir())
    return not folders and bool(scan.flat_image_files(root))
