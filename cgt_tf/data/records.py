"""Images that stay on disk: read by index from the ArrayRecord files of a prepared dataset.

`RecordImages` stands where an array of images could: it has its shape, and what is indexed is read
and decoded. The pipeline reads its batches from it as it gathers them from an array.
"""

from __future__ import annotations

import functools
import hashlib
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from cgt_tf.data.notes import Notes
from cgt_tf.data.python_calls import call
from cgt_tf.errors import InputError

# What ArrayRecord, tfds.data_source and TensorFlow raise for records that are damaged or missing.
ERRORS = (tf.errors.OpError, RuntimeError, ValueError, IndexError, OSError)

_CHUNK = 512  # Images read together: bounds what is held beside the result.


def is_indexed(builder: tfds.core.DatasetBuilder) -> bool:
    """Whether single records can be read by their number: the format is ArrayRecord."""
    return builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD


def open_split(builder: tfds.core.DatasetBuilder, split: str) -> Sequence[bytes]:
    """Serialized examples of a dataset that `is_indexed`; may be used by several threads."""
    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    return builder.as_data_source(split=split, deserialize_method=raw)


def read(source: Sequence[bytes], numbers: tf.Tensor, rows: np.ndarray | None = None) -> tf.Tensor:
    """Serialized examples, string [b], by their numbers int64 [b], or by `rows` of these."""

    def read_now(wanted: np.ndarray) -> np.ndarray:
        chosen = wanted if rows is None else rows[wanted]
        return np.array(source.__getitems__(chosen.tolist()), dtype=object)

    return tf.ensure_shape(call(read_now, numbers, tf.string), numbers.shape)


class RecordImages:
    """Images of a prepared dataset, in any choice and order.

    Indexing by a number, a slice, a mask or numbers reads a uint8 array, as NumPy's would be;
    `select` chooses without reading.

    Args:
      builder: Builder of the dataset, which `is_indexed` and has PNG images at one resolution.
      rows: Numbers of the records in split `train`, int64 [n].
      resolution: R.
      content: Digest of the dataset's files, which says what a record holds.
      notes: Where digests of the images are kept.

    Attributes:
      shape: (n, R, R, 3).
      dtype: uint8.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(
        self,
        builder: tfds.core.DatasetBuilder,
        rows: np.ndarray,
        resolution: int,
        content: str,
        notes: Notes,
    ):
        self._builder, self._rows, self._resolution = builder, rows, resolution
        self._content, self._notes = content, notes
        self._source = open_split(builder, "train")
        self.shape = (len(rows), resolution, resolution, 3)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: int | slice | np.ndarray) -> np.ndarray:
        rows = self._rows[key]
        numbers = np.atleast_1d(rows)
        images = np.empty((len(numbers), *self.shape[1:]), np.uint8)
        for start in range(0, len(numbers), _CHUNK):
            part = slice(start, start + _CHUNK)
            try:
                images[part] = self._images(tf.constant(numbers[part]))
            except ERRORS as error:
                line = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
                raise InputError(
                    f"expected PNG images of {self._resolution}x{self._resolution} in "
                    f"{pathlib.Path(self._builder.data_dir)}: {line}"
                ) from None
        return images if np.ndim(rows) else images[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All images, for what cannot do with less; in memory from then on."""
        images = self[:]
        return images if dtype is None else images.astype(dtype)

    def select(self, key: slice | np.ndarray) -> RecordImages:
        """Some of the images, which are not read."""
        rows = self._rows[key]
        return RecordImages(self._builder, rows, self._resolution, self._content, self._notes)

    def gather(self, indices: tf.Tensor) -> tf.Tensor:
        """Images uint8 [b, R, R, 3] by indices int64 [b], within a graph."""
        return self._decoded(read(self._source, indices, self._rows))

    def noted(self, what: str, compute: Callable[[], Any]) -> Any:
        """A value that these images and `what` decide, computed once for all runs."""
        rows = hashlib.sha256(np.ascontiguousarray(self._rows, "<i8")).hexdigest()
        value = self._notes.value(f"{what} of images {self._content} {rows}", (), compute)
        self._notes.save()
        return value

    @functools.cached_property
    def _images(self) -> Callable[[tf.Tensor], tf.Tensor]:
        numbers = tf.TensorSpec([None], tf.int64)
        return tf.function(
            lambda wanted: self._decoded(read(self._source, wanted)),
            autograph=False,
            input_signature=[numbers],
        )

    def _decoded(self, examples: tf.Tensor) -> tf.Tensor:
        features = {"image": tf.io.FixedLenFeature([], tf.string)}
        encoded = tf.io.parse_example(examples, features)["image"]
        shape = self.shape[1:]
        images = tf.map_fn(
            lambda png: tf.ensure_shape(tf.io.decode_png(png, channels=3), shape),
            encoded,
            fn_output_signature=tf.TensorSpec(shape, tf.uint8),
        )
        return tf.ensure_shape(images, [*examples.shape, *shape])
