"""Files: written whole or not at all, read with one clear error, told apart by digests.

What is written goes to a name of its own first, beside its place, since a rename is atomic within
one file system only.
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cgt_tf.errors import InputError

TEMPORARY = ".new-"  # How the names of files begin that are not whole yet.
_CHUNK = 1 << 20


@contextlib.contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yields a path to write to; what is there takes the place of `path` when the block succeeds.

    On failure `path` is as it was. The ending of the name is the same, which some writers go by.

    Args:
        path: Path of a file, in a directory that exists.
    """
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}-{path.name}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Writes a text file so that it is either the old or the new one, never half."""
    with replaced(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def staged_directory(target: Path) -> Iterator[Path]:
    """Yields an empty directory that takes the place of `target` when the block succeeds.

    On failure `target` is as it was, and neither temporary files nor new parents are left. A
    directory that is already at `target` is replaced; the caller has made sure that it may be.

    Raises:
        InputError: the place cannot be written to.
    """
    missing = [parent for parent in target.parents if not parent.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        _remove_empty(missing)
        raise InputError(
            f"expected a place to write to, got {target}: {error.strerror or error}"
        ) from None
    try:
        new = temporary / "new"
        new.mkdir()  # Unlike the private directory of mkdtemp, this one follows the umask.
        yield new
        _swap(new, target, temporary / "old")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _remove_empty(missing)


def _swap(new: Path, target: Path, old: Path) -> None:
    if target.exists():
        os.replace(target, old)
    try:
        os.replace(new, target)
    except OSError:
        if old.exists() and not target.exists():
            os.replace(old, target)
        raise


def _remove_empty(directories: Iterable[Path]) -> None:
    for directory in directories:  # Innermost first.
        with contextlib.suppress(OSError):
            directory.rmdir()


def check_writable(path: str | os.PathLike[str], what: str) -> None:
    """`InputError` for a file or directory that could not be written, found before any work.

    Args:
        path: What is to be written; the nearest place above it that exists is tried.
        what: What was expected there, such as "--output in a place".
    """
    path = Path(path).absolute()
    places = (path, *path.parents) if path.is_dir() else path.parents
    try:
        tempfile.TemporaryFile(dir=next(p for p in places if p.exists())).close()
    except OSError as error:
        raise InputError(
            f"expected {what} that can be written, got {path}: {error.strerror}"
        ) from None


def read_json(path: Path, what: str) -> dict:
    """The object that a JSON file holds.

    Args:
        path: Path of the file.
        what: What was expected there, for the error.

    Raises:
        InputError: no such file, or another content.
    """
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"expected {what}: {error.strerror or error}: {path}") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        # Not the content, which may be anyone's.
        raise InputError(f"expected {what}, got a file that is no JSON: {path}") from error
    if not isinstance(values, dict):
        kind = type(values).__name__
        raise InputError(f"expected {what}, got JSON that is no object but {kind}: {path}")
    return values


def sha256(*paths: Path) -> str:
    """Of the bytes of files, in order, as hex."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def sha256_of(text: str) -> str:
    """Of a text, as hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def cache_root(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """`cache_dir`, else the environment variable CGT_TF_CACHE, else ~/.cache/cgt_tf."""
    chosen = cache_dir or os.environ.get("CGT_TF_CACHE") or "~/.cache/cgt_tf"
    return Path(chosen).expanduser().resolve()
