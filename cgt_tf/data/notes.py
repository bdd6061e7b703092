"""Notes of what was computed from files, good for as long as the files' sizes and times stay.

    <cache>/notes/<hash of the key>.json    the state of the files, and the value

They save hashing all bytes at every start. Nothing depends on them but time: a note that is
missing, damaged or about another state is computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from absl import logging

from cgt_tf.files import sha256_of, write_atomically

# A file that changes within the clock tick of its last change keeps its times; 2 s is the longest
# tick of file systems in use. What is younger is not noted.
_SETTLED = 2 * 10**9  # ns


class Notes:
    """Values by key, each with the state of the files that it was computed from.

    Args:
      directory: Where they are kept; made when the first one is saved.
    """

    def __init__(self, directory: pathlib.Path):
        self._directory = directory
        self._new: dict[str, dict] = {}

    def value(
        self,
        key: str,
        paths: Sequence[pathlib.Path],
        compute: Callable[[], Any],
        facts: str = "",
    ) -> Any:
        """The noted value, else what `compute` returns, which `save` then writes down.

        Args:
          key: What the value is of.
          paths: Paths of the files that decide it; () for a value that the key itself decides.
          compute: Returns a value that JSON can hold.
          facts: What else decides it.
        """
        found = self.known(key, paths, facts)
        if found is not None:
            return found
        state, settled = _state(paths, facts), _is_settled(paths)
        value = compute()
        # Files that changed meanwhile leave no note.
        if state is not None and settled and state == _state(paths, facts):
            self._new[key] = {"key": key, "state": state, "value": value}
        return value

    def known(self, key: str, paths: Sequence[pathlib.Path], facts: str = "") -> Any:
        """The noted value, or None."""
        try:
            note = json.loads(self._path(key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(note, dict) or note.get("key") != key:
            return None
        state = _state(paths, facts)
        return note.get("value") if state is not None and note.get("state") == state else None

    def save(self) -> None:
        """Writes down what is new; apart from `value`, so that what fails leaves nothing."""
        while self._new:
            self._write(*self._new.popitem())

    def _path(self, key: str) -> pathlib.Path:
        return self._directory / f"{sha256_of(key)[:32]}.json"

    def _write(self, key: str, note: dict) -> None:
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(note))
        except OSError as error:
            logging.warning("%s was not noted in %s: %s", key, path, error.strerror or error)


def _state(paths: Sequence[pathlib.Path], facts: str) -> str | None:
    """Digest of names, sizes and times; None where a file cannot be asked."""
    digest = hashlib.sha256(facts.encode())
    try:
        for path in paths:
            stat = path.stat()
            # The time of the last change of the file's entry, too: it cannot be set back.
            row = (os.fsencode(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
            digest.update(repr(row).encode())
    except OSError:
        return None
    return digest.hexdigest()


def _is_settled(paths: Sequence[pathlib.Path]) -> bool:
    try:
        newest = max((max(s.st_mtime_ns, s.st_ctime_ns) for s in map(os.stat, paths)), default=0)
    except OSError:
        return False
    return newest < time.time_ns() - _SETTLED
