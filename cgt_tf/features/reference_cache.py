"""Features of reference images on disk, so that they are computed once.

    <cache>/features/<key>.npz    features float32 [n, d]

The key is a SHA-256 of everything that decides the numbers: the feature network's and the images'
fingerprints, the resize, the TensorFlow version and the kind of device. An entry is written whole
or not at all; one that cannot be read is computed again. Features above `IN_MEMORY` bytes are
written batch by batch and mapped into memory, which holds as many of them as it has room for.
"""

import math
import os
import struct
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tensorflow as tf
from absl import logging

from cgt_tf.errors import InputError
from cgt_tf.features import RESIZE
from cgt_tf.features.feature_net import FeatureNet
from cgt_tf.files import cache_root, replaced, sha256_of

IN_MEMORY = 2**30
_FORMAT = "1"
_ENTRY = "features.npy"  # As np.savez names it.
# What NumPy and zipfile are seen to raise on files that were cut short or changed.
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, struct.error)


class ReferenceCache:
    """Feature arrays by content.

    Args:
        cache_dir: See `files.cache_root`.
    """

    def __init__(self, cache_dir: str | os.PathLike[str] | None = None):
        self._directory = cache_root(cache_dir) / "features"

    def path(self, net: FeatureNet, fingerprint: str) -> Path:
        """The entry's file for a network and the fingerprint of a set of images."""
        device = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
        facts = (_FORMAT, net.fingerprint, fingerprint, RESIZE, tf.__version__, device)
        return self._directory / f"{sha256_of(repr(facts))}.npz"

    def features(
        self,
        net: FeatureNet,
        fingerprint: str,
        count: int,
        compute: Callable[[], Iterable[np.ndarray]],
    ) -> np.ndarray:
        """The stored features float32 [count, d], or else what `compute` returns, then stored.

        Args:
            net: The feature network.
            fingerprint: Fingerprint of the images, see `ImageSet.fingerprint`.
            count: The number of images.
            compute: Returns the features in batches; called where there is no entry that can be
                read.

        Raises:
            InputError: features above `IN_MEMORY` bytes that cannot be written.
        """
        path, shape = self.path(net, fingerprint), (count, net.dim)
        read = _read if 4 * math.prod(shape) <= IN_MEMORY else _map
        if path.exists():
            try:
                return read(path, shape)
            except _DAMAGED as error:
                logging.warning(
                    "%s is damaged and is computed again: %s", path, str(error).split("\n")[0]
                )
        if read is _read:
            return _computed(path, compute())
        try:
            _write(path, lambda file: _write_batches(file, shape, compute()))
        except OSError as error:
            raise InputError(
                f"expected room for {4 * math.prod(shape) / 1e9:.0f} GB of features, got {path}: "
                f"{error.strerror or error}"
            ) from None
        return _map(path, shape)


def _computed(path: Path, batches: Iterable[np.ndarray]) -> np.ndarray:
    features = np.concatenate(list(batches))
    try:
        _write(path, lambda file: np.savez(file, features=features))
    except OSError as error:
        logging.warning("features were not cached in %s: %s", path, error.strerror or error)
    return features


def _read(path: Path, shape: tuple[int, int]) -> np.ndarray:
    with np.load(path, allow_pickle=False) as entry:
        features = entry["features"]  # zipfile compares checksums.
    _check(features.dtype, features.shape, shape)
    return features


def _map(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """The same, left on disk: the bytes of an entry that is not compressed lie as an array's."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(_ENTRY)
        with archive.open(info) as entry:
            version = np.lib.format.read_magic(entry)
            found, fortran, dtype = np.lib.format.read_array_header_1_0(entry)
            header = entry.tell()
        if archive.testzip():
            raise ValueError("expected features whose checksum is the noted one")
    _check(dtype, found, shape)
    if version != (1, 0) or fortran or info.compress_type != zipfile.ZIP_STORED:
        raise ValueError("expected a plain array")
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)
        start = info.header_offset + 30 + sum(struct.unpack("<HH", file.read(4)))
    return np.memmap(path, dtype, "r", start + header, shape)


def _check(dtype: np.dtype, found: tuple[int, ...], shape: tuple[int, int]) -> None:
    if dtype != np.float32 or found != shape:
        raise ValueError(f"expected float32 {shape}, got {dtype} {found}")


def _write(path: Path, fill: Callable[[BinaryIO], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as temporary, temporary.open("wb") as file:
        fill(file)


def _write_batches(file: BinaryIO, shape: tuple[int, int], batches: Iterable[np.ndarray]) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with (
        zipfile.ZipFile(file, "w") as archive,
        archive.open(_ENTRY, "w", force_zip64=True) as entry,
    ):
        np.lib.format.write_array_header_1_0(entry, header)
        for batch in batches:
            entry.write(np.ascontiguousarray(batch, "<f4").data)
