"""Writes the images that are scored as PNG files, one folder a class."""

import contextlib
import dataclasses
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from cgt_tf.errors import InputError
from cgt_tf.files import staged_directory
from cgt_tf.scoring.samples import Samples


@dataclasses.dataclass(frozen=True, eq=False)
class _Saving:
    """Samples that are written when they are read."""

    samples: Samples
    directory: Path

    @property
    def labels(self) -> np.ndarray:
        return self.samples.labels

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.samples.class_names

    def __iter__(self) -> Iterator[np.ndarray]:
        position, width = 0, len(str(len(self.labels) - 1))
        for batch in self.samples:
            for image in batch:
                name = self.class_names[self.labels[position]]
                path = self.directory / name / f"{position:0{width}d}.png"
                Image.fromarray(image).save(path, compress_level=1)
                position += 1
            yield batch

    def take(self, indices: np.ndarray) -> np.ndarray:
        return self.samples.take(indices)


@contextlib.contextmanager
def saved(samples: Samples, directory: str) -> Iterator[Samples]:
    """Samples whose images are in `directory` once the block has succeeded.

    The folder `<class name>` gets `<position>.png`, uint8 and lossless, so that these class folders
    score the same.

    Args:
        samples: What is scored.
        directory: A new or empty one; "" writes nothing.

    Raises:
        InputError: files are there already, or a class name cannot name a folder.
    """
    if not directory:
        yield samples
        return
    target = Path(directory).expanduser().absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"expected a new or empty directory to save samples to, got {target}")
    for name in samples.class_names:
        normal = unicodedata.normalize("NFC", name).strip()
        if not name or name != normal or not name.isprintable() or set(name) & set("/\\"):
            raise InputError(f"expected class names that can name folders, got {name!r}")
        if name.startswith("."):
            raise InputError(f"expected class names that do not start with a dot, got {name!r}")
    with staged_directory(target) as staging:
        for name in samples.class_names:
            (staging / name).mkdir()
        yield _Saving(samples, staging)
