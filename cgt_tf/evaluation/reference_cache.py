"""Features of reference images on disk, so that they are computed once.

    <cache>/features/<key>.npz    features float32 [n, d]

The key is a SHA-256 of everything that decides the numbers: the feature network's and the images'
fingerprints, the resize, the TensorFlow version and the kind of device. An entry is written whole
or not at all; one that cannot be read is computed again.
"""

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import logging

from cgt_tf.data.prepared import cache_root
from cgt_tf.evaluation.feature_net import RESIZE, FeatureNet

_FORMAT = "1"
# What NumPy and zipfile are seen to raise on files that were cut short or changed.
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


class ReferenceCache:
    """Feature arrays by content.

    Args:
        cache_dir: see `data.prepared.cache_root`.
    """

    def __init__(self, cache_dir: str | os.PathLike[str] | None = None):
        self._directory = cache_root(cache_dir) / "features"

    def path(self, net: FeatureNet, fingerprint: str) -> Path:
        """The entry's file for a network and the fingerprint of a set of images."""
        device = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
        facts = (_FORMAT, net.fingerprint, fingerprint, RESIZE, tf.__version__, device)
        return self._directory / f"{hashlib.sha256(repr(facts).encode()).hexdigest()}.npz"

    def features(
        self, net: FeatureNet, fingerprint: str, count: int, compute: Callable[[], np.ndarray]
    ) -> np.ndarray:
        """The stored features float32 [count, d], or else what `compute` returns, then stored.

        Args:
            net: the feature network.
            fingerprint: of the images, see `ImageSet.fingerprint`.
            count: the number of images.
            compute: returns the features; called where there is no entry that can be read.
        """
        path = self.path(net, fingerprint)
        if path.exists():
            try:
                return _read(path, (count, net.dim))
            except _DAMAGED as error:
                logging.warning(
                    "%s is damaged and is computed again: %s", path, str(error).split("\n")[0]
                )
        features = compute()
        try:
            _write(path, features)
        except OSError as error:
            logging.warning("features were not cached in %s: %s", path, error.strerror or error)
        return features


def _read(path: Path, shape: tuple[int, int]) -> np.ndarray:
    with np.load(path, allow_pickle=False) as entry:
        features = entry["features"]  # zipfile compares checksums.
    if features.dtype != np.float32 or features.shape != shape:
        raise ValueError(f"expected float32 {shape}, got {features.dtype} {features.shape}")
    return features


def _write(path: Path, features: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".new-", suffix=".npz", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            np.savez(file, features=features)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
