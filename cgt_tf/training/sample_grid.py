"""Pictures of samples while a run goes, one row a class with its name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from cgt_tf.data.image_set import ImageSet
from cgt_tf.data.pipeline import to_uint8
from cgt_tf.pictures import labelled_grid
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.training.board import Board

_COLUMNS, _ROWS = 8, 20
_REALS = "reals.png"
_LEAST_SIDE = 64  # Pixels; smaller images are enlarged.


class SampleGrid:
    """Draws grids with the same latents each time: at most 20 classes, 8 images of each.

    Args:
        run: Opened run directory; `samples/reals.png` shows training images of the same classes.
        board: The run's.
        images: Training images.
        class_names: Names of the classes that the run learns, in label order.
        dim_z: Width of a latent.
        seed: Seed of the latents; each column has the same z in every row.
    """

    def __init__(
        self, run: RunDir, board: Board, images: ImageSet, class_names, dim_z: int, seed: int
    ):
        rows = min(len(class_names), _ROWS)
        classes = np.linspace(0, len(class_names) - 1, rows).round().astype(np.int32)
        self._names = [class_names[label] for label in classes]
        self._labels = np.repeat(classes, _COLUMNS)
        z = np.random.default_rng(seed).normal(size=(_COLUMNS, dim_z)).astype(np.float32)
        self._z = np.tile(z, (rows, 1))
        self._run, self._board = run, board
        reals = run.samples / _REALS
        if not reals.exists():
            rows = [_first(images, label) for label in classes]
            self._draw(np.concatenate(rows)).save(reals)

    def save(self, sample: Callable, step: int) -> Path:
        """Writes `samples/step_<step>.png` from `sample(z, labels)` -> images in [-1, 1]."""
        picture = self._draw(to_uint8(sample(self._z, self._labels)).numpy())
        path = self._run.samples / f"step_{step:06d}.png"
        picture.save(path)
        self._board.picture("samples", picture, step)
        return path

    def _draw(self, images: np.ndarray):
        scale = max(1, -(-_LEAST_SIDE // images.shape[2]))
        return labelled_grid(images, self._names, _COLUMNS, scale)


def _first(images: ImageSet, label: int) -> np.ndarray:
    """The first images of a class, white where there are fewer than columns."""
    found = images.images[np.flatnonzero(images.labels == label)[:_COLUMNS]]
    blank = np.full((_COLUMNS - len(found), *found.shape[1:]), 255, np.uint8)
    return np.concatenate([found, blank])
