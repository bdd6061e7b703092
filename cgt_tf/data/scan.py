"""Finds the image files of a directory of class folders and fingerprints their contents.

The rule: every top-level folder is a class and owns the image files at any depth below it. Files
beside the class folders and everything hidden (a name that starts with a dot) are ignored. A
class is named by its folder in Unicode NFC, and classes and files are ordered by code point, so
the same tree gives the same order on every file system. Links to folders are followed at the top
level only, where they cannot form a loop.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import unicodedata
from collections.abc import Iterable

from cgt_tf.data import decode
from cgt_tf.errors import InputError

# What macOS adds to archives.
_NO_CLASSES = ("__MACOSX",)
_JOINER = "\u200d"


@dataclasses.dataclass(frozen=True, order=True)
class Skipped:
    """A file below a class folder that is not used: path relative to the images, and why."""

    path: str
    reason: str


@dataclasses.dataclass(frozen=True)
class ImageFile:
    """A file to decode: absolute path, and the path to show (relative, always printable)."""

    path: pathlib.Path
    shown: str
    class_index: int


@dataclasses.dataclass(frozen=True)
class Scan:
    """What a directory of class folders holds, before any pixel is decoded."""

    root: pathlib.Path
    class_names: tuple[str, ...]
    files: tuple[ImageFile, ...]
    skipped: tuple[Skipped, ...]


def scan_class_folders(images_dir: str | os.PathLike[str]) -> Scan:
    """Lists the classes and image files below `images_dir` by the rule above.

    Raises:
      InputError: no such directory, no class folder in it, or a folder name that cannot name a
        class (not UTF-8, control characters, or the same as another one in NFC).
    """
    root = pathlib.Path(images_dir).expanduser().resolve()
    if not root.is_dir():
        kind = "a file" if root.exists() else "nothing"
        raise InputError(f"expected a directory of class folders, found {kind} at {images_dir}")
    folders = _class_folders(root)
    if not folders:
        raise InputError(f"expected one folder per class in {images_dir}, found no folder there")
    files: list[ImageFile] = []
    skipped: list[Skipped] = []
    for index, name in enumerate(sorted(folders)):
        _scan_class(root, folders[name], index, files, skipped)
    return Scan(root, tuple(sorted(folders)), tuple(files), tuple(sorted(skipped)))


def scan_flat_folder(images_dir: str | os.PathLike[str], class_name: str) -> Scan:
    """The image files at the top of a directory, by name, as one class."""
    root = pathlib.Path(images_dir).expanduser().resolve()
    files = (ImageFile(path, _shown(path, root), 0) for path in flat_image_files(root))
    return Scan(root, (class_name,), tuple(files), ())


def flat_image_files(root: pathlib.Path) -> list[pathlib.Path]:
    """Image files at the top of a directory, by name."""
    return sorted(
        path
        for path in root.iterdir()
        if path.suffix.lower() in decode.EXTENSIONS
        and not path.name.startswith(".")
        and path.is_file()
    )


def looks_one_level_too_high(scan: Scan) -> bool:
    """Whether all images lie in folders of the class folders, several in each: their parent's."""
    folders: dict[int, set[pathlib.Path]] = {i: set() for i in range(len(scan.class_names))}
    for file in scan.files:
        below = file.path.relative_to(scan.root).parts[1:]
        if len(below) == 1:
            return False
        folders[file.class_index].add(pathlib.Path(below[0]))
    return all(len(found) > 1 for found in folders.values())


def content_digest(scan: Scan, files: Iterable[ImageFile], facts: Iterable[str]) -> str:
    """SHA-256 over class names, relative paths, file bytes, skipped paths and `facts`.

    Args:
      scan: What was found.
      files: `scan.files`, possibly wrapped in a progress bar.
      facts: Whatever else decides the result, such as the resolution.
    """
    digest = hashlib.sha256()
    for text in (*facts, *scan.class_names, *(item.path for item in scan.skipped)):
        _update(digest, text.encode())
    for file in files:
        _update(digest, _normal(file.shown).encode())
        _update(digest, str(file.class_index).encode())
        try:
            _update(digest, _file_digest(file.path))
        except OSError as error:  # Reported by the decoder later; readable again is a change.
            _update(digest, f"unreadable: {error.strerror}".encode())
    return digest.hexdigest()


def _class_folders(root: pathlib.Path) -> dict[str, pathlib.Path]:
    folders: dict[str, pathlib.Path] = {}
    for path in sorted(root.iterdir()):
        if path.name.startswith(".") or path.name in _NO_CLASSES or not path.is_dir():
            continue
        name = _normal(path.name).strip()
        # Bytes that are not UTF-8 are not printable either; the joiner of emoji is not by itself.
        if not name or not name.replace(_JOINER, "").isprintable():
            raise InputError(f"expected a printable UTF-8 name for a class folder, got {path!a}")
        if name in folders:
            raise InputError(
                f"expected different class names, got {name!r} from both "
                f"{folders[name].name!a} and {path.name!a}"
            )
        folders[name] = path
    return folders


def _scan_class(
    root: pathlib.Path,
    folder: pathlib.Path,
    class_index: int,
    files: list[ImageFile],
    skipped: list[Skipped],
) -> None:
    """Appends the files of one class in path order, and the ones that are no candidates."""

    def unreadable(error: OSError) -> None:
        skipped.append(Skipped(_shown(error.filename, root), f"folder: {error.strerror}"))

    found: list[ImageFile] = []
    for directory, inner, names in os.walk(folder, onerror=unreadable):
        here = pathlib.Path(directory)
        for name in inner:
            if not name.startswith(".") and (here / name).is_symlink():
                skipped.append(Skipped(_shown(here / name, root), "link to a folder, not followed"))
        inner[:] = [name for name in inner if not name.startswith(".")]
        for name in names:
            if name.startswith("."):
                continue
            path = here / name
            shown = _shown(path, root)
            if path.suffix.lower() not in decode.EXTENSIONS:
                skipped.append(Skipped(shown, f"not an image file name ({_suffixes()})"))
            elif not path.is_file():
                # Opening a named pipe would wait for ever.
                skipped.append(Skipped(shown, "broken link or not a regular file"))
            else:
                found.append(ImageFile(path, shown, class_index))
    files.extend(sorted(found, key=lambda file: (_normal(file.shown), file.shown)))


def _shown(path: str | os.PathLike[str], root: pathlib.Path) -> str:
    """Path relative to the images; what cannot be printed becomes backslash escapes."""
    relative = pathlib.Path(path).relative_to(root).as_posix()
    text = os.fsencode(relative).decode("utf-8", "backslashreplace")
    return "".join(
        c if c.isprintable() or c == _JOINER else c.encode("unicode_escape").decode() for c in text
    )


def _suffixes() -> str:
    return "expected " + " ".join(sorted(decode.EXTENSIONS))


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _update(digest: hashlib._Hash, data: bytes) -> None:
    # The length keeps "ab" + "c" apart from "a" + "bc".
    digest.update(len(data).to_bytes(8, "big") + data)


def _file_digest(path: pathlib.Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.digest()
