"""Opens TFDS datasets of labelled images and reads chosen examples of them, in stored order."""

from __future__ import annotations

import contextlib
import difflib
import itertools
import os
import pathlib
import re
import socket
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from absl import logging
from google.protobuf import json_format

from cgt_tf.data import decode, records
from cgt_tf.data.prepared import LABELS_NAME, MANIFEST_NAME
from cgt_tf.errors import InputError

Builder = tfds.core.DatasetBuilder

_BATCH = 256  # Images decoded together where all have one size.
_DECODERS = min(8, os.cpu_count() or 1)
# Shards one after the other: the order must not depend on how TFDS interleaves them.
_READ_CONFIG = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)


# What TFDS raises for metadata that is damaged or made by hand.
_METADATA_ERRORS = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError, ImportError),
    *(json_format.Error, tf.errors.OpError),
)


def open_named(name: str) -> Builder:
    """Opens a dataset by its TFDS name, downloading and preparing it where it is not.

    Args:
      name: `name[/config][:version]`. Prepared data is looked for in the directory that the
        environment variable TFDS_DATA_DIR names, else in ~/tensorflow_datasets.

    Raises:
      InputError: unknown name, config or version; not prepared and cannot be; not labelled images.
    """
    data_dir = os.environ.get("TFDS_DATA_DIR") or None
    show_progress_on_terminals_only()
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        known = difflib.get_close_matches(re.split("[:/]", name)[0], tfds.list_builders(), n=3)
        hint = f", close to {', '.join(known)}" if known else ""
        raise InputError(f"expected the name of a TFDS dataset, got {name!r}{hint}") from None
    except (ValueError, AssertionError) as error:
        raise InputError(f"expected a TFDS dataset, got {name!r}: {_first_line(error)}") from None
    _check_features(builder, f"tfds:{name}")
    if not builder.is_prepared():
        logging.info("preparing tfds:%s in %s", name, builder.data_dir)
        try:
            _check_network(builder)
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(try_download_gcs=False)
            )
        except (
            OSError,  # No network, disk full; the exceptions of requests are of this kind.
            ImportError,  # A dataset that needs packages which are not installed.
            AssertionError,  # A dataset whose files are to be placed by hand.
            ValueError,
            tf.errors.OpError,
            tfds.download.DownloadError,
        ) as error:
            raise InputError(
                f"expected tfds:{name} prepared in {builder.data_dir} or a way to download it: "
                f"{_first_line(error)}"
            ) from None
    return builder


def show_progress_on_terminals_only() -> None:
    """Keeps the progress bars of TFDS out of log files."""
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()


def open_directory(path: pathlib.Path) -> Builder:
    """Opens a prepared TFDS dataset directory; `InputError` if it is not one of labelled images."""
    try:
        builder = tfds.builder_from_directory(str(path))
    except _METADATA_ERRORS as error:
        raise InputError(
            f"expected a prepared TFDS dataset in {path}: {_first_line(error)}"
        ) from None
    _check_features(builder, str(path))
    return builder


def class_names(builder: Builder) -> tuple[str, ...]:
    """Names of the classes in the order of their labels."""
    return tuple(builder.info.features[_keys(builder)[1]].names)


def image_side(builder: Builder) -> int:
    """Height and width of all images, 0 where they differ or the dataset does not say."""
    shapes = [part.shape for part in builder.info.features.values() if len(part.shape) == 3]
    sides = {shape[:2] for shape in shapes}
    height, width = next(iter(sides)) if len(sides) == 1 else (None, None)
    return height if height and height == width else 0


def check_split(builder: Builder, split: str, origin: str) -> None:
    """`InputError` unless `split` names a split of the dataset, or a slice of one."""
    try:
        found = builder.info.splits[split].num_examples
    except (KeyError, ValueError, AssertionError, AttributeError):
        found = 0
    if not found:
        raise InputError(
            f"expected a split of {origin} with images "
            f"({', '.join(builder.info.splits)}), got {split!r}"
        )


def read_labels(builder: Builder, split: str) -> np.ndarray:
    """Labels int32 [n] of a split; images are not decoded, and those of `prepared` not read."""
    label = _keys(builder)[1]
    directory = pathlib.Path(builder.data_dir)
    ours = split == "train" and (directory / MANIFEST_NAME).is_file()
    with _readable(builder, split):
        if ours and records.is_indexed(builder):
            with (directory / LABELS_NAME).open("rb") as file:
                found = np.lib.format.read_array(file, allow_pickle=False)
        else:
            labels = _undecoded(builder, split).map(lambda example: example[label])
            batches = labels.batch(4096).as_numpy_iterator()
            found = np.concatenate([np.zeros(0, np.int64), *batches])
    names = class_names(builder)
    expected = builder.info.splits[split].num_examples
    if len(found) != expected:
        raise InputError(
            f"expected {expected} examples of {builder.info.full_name}, split {split}, as its "
            f"dataset_info.json says, found {len(found)}"
        )
    if found.dtype.kind not in "iu" or found.ndim != 1:
        raise InputError(f"expected integer labels [n] in {directory}, got {found.dtype}")
    if len(found) and not -1 <= found.min() <= found.max() < len(names):
        raise InputError(
            f"expected labels of the {len(names)} classes of {builder.info.full_name}, got "
            f"{found.min()} to {found.max()} in split {split}"
        )
    return found.astype(np.int32)


def split_files(builder: Builder, split: str) -> list[pathlib.Path]:
    """The files that hold a split, and those that say how they are read."""
    directory = pathlib.Path(builder.data_dir)
    with _readable(builder, split):
        parts = builder.info.splits[split].file_instructions
        records_files = dict.fromkeys(pathlib.Path(part.filename) for part in parts)
    return [*records_files, directory / "dataset_info.json", directory / "features.json"]


def read_images(builder: Builder, split: str, wanted: np.ndarray, resolution: int) -> np.ndarray:
    """Images uint8 [k, R, R, 3] of a split where the mask `wanted`, bool [n], holds.

    Raises:
      InputError: an image that cannot be brought to R x R, by its position in the split.
    """
    output = np.empty((np.count_nonzero(wanted), resolution, resolution, 3), np.uint8)
    for position, image in enumerate(iterate_images(builder, split, wanted, resolution)):
        output[position] = image
    return output


def iterate_images(
    builder: Builder, split: str, wanted: np.ndarray, resolution: int
) -> Iterator[np.ndarray]:
    """The same one by one, uint8 [R, R, 3]; the others are skipped before they are decoded."""
    key, _ = _keys(builder)
    feature = builder.info.features[key]
    images = (
        _undecoded(builder, split, wanted)
        .map(
            lambda example: feature.decode_example(example[key]),
            num_parallel_calls=_DECODERS,
            deterministic=True,
        )
        .batch(_BATCH if None not in feature.shape else 1)
        .prefetch(1)
    )
    count, enlarged = 0, 0
    with _readable(builder, split):
        for image in itertools.chain.from_iterable(images.as_numpy_iterator()):
            enlarged += min(image.shape[:2]) < resolution
            try:
                fitted = decode.fit_pixels(image, resolution)
            except decode.UnreadableImage as error:
                index = int(np.flatnonzero(wanted)[count])
                raise InputError(
                    f"expected images to resize, got number {index} of "
                    f"{builder.info.full_name}, split {split}: {error.reason}"
                ) from None
            yield fitted
            count += 1
    if enlarged:
        logging.warning(
            "%d of %d images of %s are smaller than %dx%d and were enlarged",
            enlarged,
            count,
            builder.info.full_name,
            resolution,
            resolution,
        )


@contextlib.contextmanager
def _readable(builder: Builder, split: str) -> Iterator[None]:
    """Turns what TensorFlow and TFDS raise for damaged or missing records into one line."""
    try:
        yield
    except InputError:  # Which is a ValueError.
        raise
    except (*records.ERRORS, AssertionError) as error:
        raise InputError(
            f"expected records of {builder.info.full_name}, split {split}, in "
            f"{builder.data_dir}: {_first_line(error)}"
        ) from None


def _check_network(builder: Builder) -> None:
    """ConnectionError where the files of a dataset cannot be reached; TFDS retries for minutes."""
    hosts = {urllib.parse.urlsplit(url).hostname for url in builder.url_infos or ()} - {None}
    if hosts and not urllib.request.getproxies():
        host = min(hosts)
        try:
            socket.getaddrinfo(host, 443)
        except socket.gaierror:
            raise ConnectionError(f"no network, cannot find {host}") from None


def _undecoded(builder: Builder, split: str, wanted: np.ndarray | None = None) -> tf.data.Dataset:
    """Examples of a split in stored order, their images still encoded; see `read_images`."""
    decoders = {_keys(builder)[0]: tfds.decode.SkipDecoding()}
    if not records.is_indexed(builder):
        examples = builder.as_dataset(
            split=split, shuffle_files=False, decoders=decoders, read_config=_READ_CONFIG
        )
        if wanted is None:
            return examples
        mask = tf.constant(wanted)
        numbered = examples.enumerate().filter(lambda index, example: mask[index])
        return numbered.map(lambda index, example: example)
    source = records.open_split(builder, split)
    numbers = np.arange(len(source)) if wanted is None else np.flatnonzero(wanted)
    return (
        tf.data.Dataset.from_tensor_slices(numbers)
        .batch(_BATCH)
        .map(lambda batch: records.read(source, batch))
        .unbatch()
        .map(
            lambda record: builder.info.features.deserialize_example(
                tf.ensure_shape(record, []), decoders=decoders
            )
        )
    )


def _keys(builder: Builder) -> tuple[str, str] | None:
    """Names of the image and label features, None where there is no such pair."""
    features = builder.info.features
    if not isinstance(features, tfds.features.FeaturesDict):
        return None
    images = [key for key, part in features.items() if type(part) is tfds.features.Image]
    labels = [key for key, part in features.items() if type(part) is tfds.features.ClassLabel]
    # The dataset's own pair first: CIFAR-100, for one, has a second, coarser label.
    for image, label in (builder.info.supervised_keys or ("", ""))[:2], ("image", "label"):
        if image in images and label in labels:
            return image, label
    return (images[0], labels[0]) if len(images) == len(labels) == 1 else None


def _check_features(builder: Builder, origin: str) -> None:
    if _keys(builder) is None:
        features = builder.info.features
        found = features.keys() if isinstance(features, tfds.features.FeaturesDict) else ()
        listed = ", ".join(f"{key} ({type(features[key]).__name__})" for key in found)
        raise InputError(
            f"expected an Image and a ClassLabel feature in {origin}, "
            f"found {listed or type(features).__name__}"
        )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
