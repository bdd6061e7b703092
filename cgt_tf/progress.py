"""How far a long computation is: a bar on a terminal, a line now and then elsewhere."""

import sys
import time

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 30.0


class Progress:
    """Counts images on stderr; a context manager.

    A terminal shows a bar. A log file gets a line every 30 seconds, none where all is done sooner.

    Args:
        title: what is being done.
        total: number of images, or None where it is not known.
    """

    def __init__(self, title: str, total: int | None = None):
        self._title = title
        self._total = total
        self._done = 0
        self._bar = tqdm(total=total, desc=title, unit="img", leave=False, disable=None)
        self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def add(self, images: int) -> None:
        """`images` more are done."""
        self._done += images
        self._bar.update(images)
        now = time.monotonic()
        if self._bar.disable and now >= self._next_line:
            of = f" of {self._total}" if self._total else ""
            line = f"{self._title}: {self._done}{of} images"
            print(line, file=sys.stderr, flush=True)  # noqa: T201 (in place of the bar)
            self._next_line = now + _SECONDS_BETWEEN_LINES
