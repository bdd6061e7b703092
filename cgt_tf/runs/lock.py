"""One process at a time trains a run: a lock of the operating system on a file of its directory.

The lock ends with the process that holds it, however that ends, so none is ever stale.
"""

import contextlib
import datetime
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from cgt_tf.errors import InputError

FILE = "run.lock"


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Holds the lock of a directory, which exists.

    Raises:
        InputError: another process holds it; the message says which.
    """
    with (directory / FILE).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise InputError(
                f"expected a run that no other process trains, got {directory}: {_holder(file)}"
            ) from None
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        file.truncate(0)
        json.dump({"host": socket.gethostname(), "process": os.getpid(), "since": now}, file)
        file.flush()
        yield


def _holder(file) -> str:
    try:
        held = json.load(file)
        return f"process {held['process']} on {held['host']} does since {held['since']}"
    except (ValueError, KeyError, TypeError):
        return "one does that has just started"
