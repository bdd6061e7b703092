"""Small files, written whole or not at all, and read with one clear error."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from cgt_tf.errors import InputError

_CHUNK = 1 << 20


def write_atomically(path: Path, text: str) -> None:
    """Writes a text file so that it is either the old or the new one, never half."""
    temporary = path.with_name(path.name + ".new")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: Path, what: str) -> dict:
    """The object that a JSON file holds.

    Args:
        path: of the file.
        what: what was expected there, for the error.

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


def sha256(path: Path) -> str:
    """Of a file's bytes, as hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
