"""Decodes the files of a scan in parallel, and says which could not be used."""

from __future__ import annotations

import collections
import concurrent.futures
import io
import os
from collections.abc import Iterable, Iterator

from cgt_tf.data import decode
from cgt_tf.data.scan import ImageFile, Scan, Skipped
from cgt_tf.errors import InputError
from cgt_tf.progress import Progress

_WORKERS = min(8, os.cpu_count() or 1)
_CHUNK = 64 * _WORKERS  # Files in flight: bounds memory when decoding is faster than writing.


class UnusableClassError(InputError):
    """Classes without a usable image. `details` lists every skipped file of every class."""

    def __init__(self, message: str, skipped: Iterable[Skipped]):
        super().__init__(message)
        self.details = describe_skipped(skipped)


class Decoder:
    """Decodes the files of a scan in order and keeps count of what became of them."""

    def __init__(self, scan: Scan, resolution: int):
        self.skipped = list(scan.skipped)
        self.enlarged = 0
        # Class index -> usable images, in the order of the scan. Labels are positions in it, so
        # classes without an image never get a number.
        self.counts: dict[int, int] = {}
        self._scan = scan
        self._resolution = resolution

    def examples(self, progress: bool) -> Iterator[tuple[bytes, int]]:
        """Yields PNG bytes and label of every usable file."""
        labels: dict[int, int] = collections.defaultdict(lambda: len(labels))
        for file, result in self._decoded(progress):
            if isinstance(result, decode.UnreadableImage):
                self.skipped.append(Skipped(file.shown, result.reason))
                continue
            png, enlarged = result
            self.enlarged += enlarged
            self.counts[file.class_index] = self.counts.get(file.class_index, 0) + 1
            yield png, labels[file.class_index]

    def empty_classes(self) -> tuple[str, ...]:
        """Names of the classes without a usable image."""
        names = enumerate(self._scan.class_names)
        return tuple(name for index, name in names if index not in self.counts)

    def finish(self, drop_empty_classes: bool) -> Iterator[str]:
        """Yields the names of the labels, once all examples are out."""
        empty = self.empty_classes()
        if empty and (not drop_empty_classes or not self.counts):
            raise unusable(empty, sorted(self.skipped))
        for index in self.counts:
            yield self._scan.class_names[index]

    def _decoded(
        self, progress: bool
    ) -> Iterator[tuple[ImageFile, tuple[bytes, bool] | decode.UnreadableImage]]:
        files = self._scan.files
        # Threads suffice: Pillow decodes, resizes and encodes outside the interpreter lock.
        with (
            concurrent.futures.ThreadPoolExecutor(_WORKERS) as pool,
            Progress("decoding", len(files), "file", shown=progress) as bar,
        ):
            for start in range(0, len(files), _CHUNK):
                chunk = files[start : start + _CHUNK]
                yield from zip(chunk, pool.map(self._decode, chunk), strict=True)
                bar.add(len(chunk))

    def _decode(self, file: ImageFile) -> tuple[bytes, bool] | decode.UnreadableImage:
        try:
            square = decode.read_square(file.path)
        except decode.UnreadableImage as error:
            return error
        stream = io.BytesIO()
        decode.resize_square(square, self._resolution).save(stream, "PNG", compress_level=1)
        return stream.getvalue(), square.width < self._resolution


def unusable(names: Iterable[str], skipped: Iterable[Skipped]) -> UnusableClassError:
    """The error for classes of these names."""
    names = tuple(names)
    noun, verb = ("class", "has") if len(names) == 1 else ("classes", "have")
    return UnusableClassError(
        f"expected at least 1 usable image in every class, {noun} "
        f"{', '.join(repr(name) for name in names)} {verb} none "
        "(add images, remove the folder, or drop empty classes)",
        skipped,
    )


def describe_skipped(skipped: Iterable[Skipped]) -> str:
    """Table of skipped files, one line each after a count; "" for none."""
    skipped = tuple(skipped)
    if not skipped:
        return ""
    width = max(len(item.path) for item in skipped)
    noun = "file" if len(skipped) == 1 else "files"
    lines = [f"  {item.path:<{width}}  {item.reason}" for item in skipped]
    return "\n".join((f"skipped {len(skipped)} {noun}:", *lines))
