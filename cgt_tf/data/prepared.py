"""A prepared dataset: a TFDS directory with split `train` and a manifest.

    <dir>/manifest.json                               `Manifest`
    <dir>/dataset_info.json features.json label.labels.txt
    <dir>/labels.npy                                  int32 [n], so that no record is read for them
    <dir>/cgt_folder-train.array_record-00000-of-00001    image PNG uint8 [R, R, 3], label

`tfds.builder_from_directory(<dir>).as_data_source("train")` reads it by index. There is one shard,
so the order of the examples is the order of writing under every TFDS version.
"""

from __future__ import annotations

import array
import contextlib
import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import PIL

from cgt_tf.data.notes import Notes
from cgt_tf.data.scan import Skipped
from cgt_tf.errors import InputError
from cgt_tf.files import cache_root, sha256

MANIFEST_NAME = "manifest.json"
CHECKSUMS_NAME = "checksums.json"  # Of datasets that have no manifest.
DATASET_NAME = "cgt_folder"
LABELS_NAME = "labels.npy"
_RECORDS_NAME = f"{DATASET_NAME}-train.array_record-00000-of-00001"
# One record a chunk, which is read by index without its neighbours; PNG is compressed as it is.
_WRITER_OPTIONS = "group_size:1,uncompressed"


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a prepared dataset holds and what it was made from."""

    class_names: tuple[str, ...]
    counts: tuple[int, ...]  # Images per class, in the order of class_names.
    skipped: tuple[Skipped, ...]
    dropped_classes: tuple[str, ...]
    enlarged: int  # Images whose square was smaller than the resolution.
    resolution: int
    resize_rule: str
    content_sha256: str
    pillow_version: str
    files: dict[str, list]  # Bytes and SHA-256 of every other file of the directory, by name.

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line for each thing about the data that will limit a training."""
        lines = [
            f"class {name!r} has no usable image and was dropped" for name in self.dropped_classes
        ]
        for name, count in zip(self.class_names, self.counts, strict=True):
            if count == 1:
                lines.append(
                    f"class {name!r} has 1 image: nothing is left to hold out for evaluation"
                )
        if len(self.class_names) == 1:
            lines.append("there is only 1 class")
        if self.enlarged:
            lines.append(
                f"{self.enlarged} of {sum(self.counts)} images are smaller than "
                f"{self.resolution}x{self.resolution} and were enlarged"
            )
        return tuple(lines)

    def describe_classes(self) -> str:
        """Table of label, number of images and name, one class per line."""
        rows = enumerate(zip(self.counts, self.class_names, strict=True))
        return "\n".join(
            ("label images  class", *(f"{i:5d} {n:6d}  {name}" for i, (n, name) in rows))
        )

    def to_json(self) -> str:
        """Manifest as indented JSON text."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Inverse of `to_json`; `InputError` if the text is something else."""
        try:
            fields = json.loads(text)
            fields["skipped"] = tuple(Skipped(**item) for item in fields["skipped"])
            for name, kind in (("class_names", str), ("counts", int), ("dropped_classes", str)):
                fields[name] = tuple(fields[name])
                if not all(isinstance(item, kind) for item in fields[name]):
                    raise TypeError(f"{name} must be a list of {kind.__name__}")
            if not isinstance(fields.get("files"), dict):
                raise TypeError("files must be an object")
            return cls(**fields)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise InputError(f"expected a manifest of a prepared dataset: {error}") from None


def read_manifest(directory: pathlib.Path) -> Manifest | None:
    """Manifest of a complete dataset prepared by this package, None for anything else."""
    needed = (MANIFEST_NAME, "dataset_info.json", "features.json")
    if not all((directory / name).is_file() for name in needed):
        return None
    try:
        text = (directory / MANIFEST_NAME).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"expected a manifest in {directory}: {error}") from None
    return Manifest.from_json(text)


def write_manifest(directory: pathlib.Path, **facts: Any) -> Manifest:
    """Writes and returns the manifest of a directory whose other files are complete.

    Args:
      directory: Directory of the dataset.
      facts: Fields of `Manifest`, but for the version of Pillow and the files.
    """
    manifest = Manifest(**facts, pillow_version=PIL.__version__, files=file_facts(directory))
    (directory / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
    return manifest


def file_facts(directory: pathlib.Path) -> dict[str, list]:
    """Size and SHA-256 of every file of a directory but its own notes of them, by name."""
    notes = (MANIFEST_NAME, CHECKSUMS_NAME)
    paths = sorted(path for path in directory.iterdir() if path.name not in notes)
    return {path.name: [path.stat().st_size, sha256(path)] for path in paths}


def damage(
    directory: pathlib.Path, facts: dict[str, list], notes: Notes | None = None
) -> str | None:
    """What differs from the facts that were stored of a directory's files; None: nothing.

    Args:
      directory: Directory of the files.
      facts: As from `file_facts`.
      notes: Files that are as they were when these notes were taken are not hashed again.
    """
    if notes is None:
        found = file_facts(directory)
    else:
        key = f"files of {directory.resolve()}"
        found = notes.value(key, sorted(directory.iterdir()), lambda: file_facts(directory))
    for name in {**facts, **found}:
        if name not in found:
            return f"{name} is missing"
        if facts.get(name) != found[name]:
            return f"{name} is not the file that was written"
    return None


def notes_directory(cache_dir: str | os.PathLike[str] | None = None) -> pathlib.Path:
    """Where the cache keeps what `Notes` are taken of."""
    return cache_root(cache_dir) / "notes"


def write_records(
    directory: pathlib.Path,
    examples: Iterable[tuple[bytes, int]],
    class_names: Iterable[str],
    resolution: int,
) -> None:
    """Writes the records and TFDS metadata of a dataset into an empty directory.

    Args:
      directory: Empty directory.
      examples: PNG bytes and label, -1 for none; consumed before `class_names` is.
      class_names: Names of the labels 0, 1, ...
      resolution: Side of the images.

    Raises:
      InputError: the disk is full, or cannot be written to.
    """
    import tensorflow_datasets as tfds

    image = tfds.features.Image(shape=(resolution, resolution, 3), encoding_format="png")
    # A ClassLabel needs the number of classes, known only when all images are decoded; a plain
    # int64 is stored the same way.
    record = tfds.features.FeaturesDict({"image": image, "label": np.int64})
    labels, size = array.array("i"), 0
    with _writer(directory / _RECORDS_NAME) as write:
        for png, label in examples:
            serialized = record.serialize_example(
                record.encode_example({"image": png, "label": label})
            )
            write(serialized)
            labels.append(label)
            size += len(serialized)
    np.save(directory / LABELS_NAME, np.array(labels, np.int32))
    features = tfds.features.FeaturesDict(
        {"image": image, "label": tfds.features.ClassLabel(names=list(class_names))}
    )
    template = tfds.core.ShardedFileTemplate(
        data_dir=directory, dataset_name=DATASET_NAME, split="train", filetype_suffix="array_record"
    )
    split = tfds.core.SplitInfo(
        name="train", shard_lengths=[len(labels)], num_bytes=size, filename_template=template
    )
    tfds.folder_dataset.write_metadata(
        data_dir=str(directory),
        features=features,
        split_infos=[split],
        filename_template=template,
        supervised_keys=("image", "label"),
        check_data=False,  # TFDS would read it as a tf.data.Dataset, which this format has not.
        description=f"Images at {resolution}x{resolution}; see {MANIFEST_NAME}.",
    )


@contextlib.contextmanager
def _writer(path: pathlib.Path) -> Iterator[Callable[[bytes], None]]:
    """A function that appends a record to an ArrayRecord file."""
    from array_record.python.array_record_module import ArrayRecordWriter

    def checked(call: Callable, *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except RuntimeError as error:  # All that the library raises.
            line = next(iter(str(error).splitlines()), "")
            raise InputError(f"expected room to write {path}: {line}") from None

    writer = checked(ArrayRecordWriter, str(path), _WRITER_OPTIONS)
    try:
        yield lambda record: checked(writer.write, record)
        checked(writer.close)
    finally:
        if writer.is_open():
            with contextlib.suppress(RuntimeError):
                writer.close()
