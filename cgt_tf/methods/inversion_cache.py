"""Codes of inverted images on disk, so that an image is inverted once.

    <cache>/inversions/<key>/codes-<hash>.npz     hashes of the images of a batch, and their codes
    <cache>/inversions/<key>/picture-<hash>.png   images beside reconstructions, of a whole set

The key is a SHA-256 of everything that decides a code but the image: the source's weights and the
settings. Entries are written whole or not at all, batch by batch: an inversion that was stopped
goes on behind its last batch, and sets of images share what they have in common.
"""

import hashlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from absl import logging
from keras import ops
from PIL import Image

from cgt_tf.files import cache_root, replaced, sha256_of
from cgt_tf.methods.inversion import Codes, InversionSettings, Inverter, embeds, image_hash
from cgt_tf.networks.gan import Gan
from cgt_tf.networks.weights import variable_name
from cgt_tf.progress import Progress

_FORMAT = "1"
# What NumPy and zipfile are seen to raise on files that were cut short or changed.
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


class InversionCache:
    """Codes by the content of images, for one source and one kind of inversion.

    Args:
        source: With a discriminator.
        settings: Settings of the inversion.
        cache_dir: See `files.cache_root`.

    Attributes:
        directory: Directory of the entries; made when the first is written.
    """

    def __init__(
        self,
        source: Gan,
        settings: InversionSettings,
        cache_dir: str | os.PathLike[str] | None = None,
    ):
        facts = (_FORMAT, source_fingerprint(source), repr(settings))
        self.directory = cache_root(cache_dir) / "inversions" / sha256_of(repr(facts))
        spec = source.spec
        self._widths = (spec.dim_z, spec.num_classes, spec.shared_dim if embeds(spec) else 0)

    def read(self) -> dict[str, tuple]:
        """Every stored image's rows of `Codes`, by its hash; damaged entries are left out."""
        found: dict[str, tuple] = {}
        for path in sorted(self.directory.glob("codes-*.npz")):
            try:
                found |= self._entry(path)
            except _DAMAGED as error:
                reason = str(error).split("\n")[0]
                logging.warning("%s is damaged and is computed again: %s", path, reason)
        return found

    def _entry(self, path: Path) -> dict[str, tuple]:
        with np.load(path, allow_pickle=False) as entry:
            hashes = entry["hashes"].tolist()  # zipfile compares checksums.
            parts = [entry[name] for name in Codes._fields]
        shapes = [part.shape for part in parts]
        expected = [(len(hashes), width) for width in self._widths] + [(len(hashes),)]
        if shapes != expected or any(part.dtype != np.float32 for part in parts):
            raise ValueError(f"expected float32 codes of the shapes {expected}, got {shapes}")
        return dict(zip(hashes, zip(*parts, strict=True), strict=True))

    def write(self, hashes: list[str], codes: Codes) -> None:
        """Stores the codes of a batch; where that fails, a warning says so."""

        def save(path):
            np.savez(path, hashes=np.array(hashes), **codes._asdict())

        self._store(f"codes-{_digest(hashes)}.npz", save)

    def write_picture(self, picture: Image.Image, images: np.ndarray) -> Path:
        """Stores the picture of a set of images, uint8 [n, R, R, 3]; returns its path."""
        name = f"picture-{_digest([image_hash(image) for image in images])}.png"
        return self._store(name, picture.save)

    def _store(self, name: str, save: Callable[[Path], None]) -> Path:
        path = self.directory / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replaced(path) as temporary:
                save(temporary)
        except OSError as error:
            logging.warning("%s was not cached: %s", path, error.strerror or error)
        return path


def _digest(hashes: list[str]) -> str:
    return sha256_of("".join(hashes))[:32]


def source_fingerprint(source: Gan) -> str:
    """SHA-256 of a GAN's spec and of all values of both networks, as hex."""
    digest = hashlib.sha256(source.spec.to_json().encode())
    for network in (source.generator, source.discriminator):
        for variable in network.variables:
            value = ops.convert_to_numpy(variable)
            digest.update(repr((variable_name(variable), value.shape, value.dtype)).encode())
            digest.update(np.ascontiguousarray(value))
    return digest.hexdigest()


def invert_images(
    source: Gan,
    images: np.ndarray,
    settings: InversionSettings,
    *,
    batch: int,
    cache: InversionCache,
) -> Codes:
    """Codes of images uint8 [n, R, R, 3], from the cache as far as they are there.

    Shows its progress on stderr while there is something to do.

    Args:
        source, settings: As the cache was made for.
        images: See above.
        batch: Images of one forward pass.
        cache: Is read and added to.
    """
    hashes = [image_hash(image) for image in images]
    found = cache.read()
    number = dict(zip(hashes, range(len(hashes)), strict=True))
    missing = sorted(i for name, i in number.items() if name not in found)
    if missing:
        inverter = Inverter(source, settings, batch)
        batches = [missing[i : i + batch] for i in range(0, len(missing), batch)]
        title = f"inversion of {len(missing)} images"
        with Progress(title, len(batches) * settings.steps, "step") as bar:
            for chosen in batches:
                codes = inverter.invert(images[chosen], bar.add)
                names = [hashes[i] for i in chosen]
                cache.write(names, codes)
                found |= dict(zip(names, zip(*codes, strict=True), strict=True))
    parts = zip(*(found[name] for name in hashes), strict=True)
    return Codes(*(np.stack(part) for part in parts))
