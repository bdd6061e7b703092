"""How far a long computation is: a bar on a terminal or in a notebook, else a line now and then."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm.auto import tqdm

_SECONDS_BETWEEN_LINES = 30.0
# In a notebook with ipywidgets, which needs no terminal.
_WIDGET = any(base.__module__ == "tqdm.notebook" for base in tqdm.__mro__)
_Item = TypeVar("_Item")


class Progress:
    """Counts on stderr what is done; a context manager.

    A terminal shows a bar, and so does a notebook. A log file gets a line every 30 seconds, none
    where all is done sooner.

    Args:
        title: What is being done.
        total: How many there are to do, or None where it is not known.
        unit: What is counted, in the singular.
        shown: False shows nothing.
        done: How many are done before.
    """

    def __init__(
        self,
        title: str,
        total: int | None = None,
        unit: str = "image",
        shown: bool = True,
        done: int = 0,
    ):
        self._title, self._total, self._unit, self._shown = title, total, unit, shown
        self._done, self._beside = done, ""
        self._bar = tqdm(
            total=total,
            initial=done,
            desc=title,
            unit=unit,
            leave=False,
            dynamic_ncols=True,
            # None: where there is no terminal.
            disable=(False if _WIDGET else None) if shown else True,
        )
        self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def add(self, count: int = 1) -> None:
        """So many more are done."""
        self._done += count
        self._bar.update(count)
        now = time.monotonic()
        if self._shown and self._bar.disable and now >= self._next_line:
            of = f" of {self._total}" if self._total else ""
            line = f"{self._title}: {self._done}{of} {self._unit}s{self._beside}"
            print(line, file=sys.stderr, flush=True)  # noqa: T201 (in place of the bar)
            self._next_line = now + _SECONDS_BETWEEN_LINES

    def show(self, values: dict[str, float]) -> None:
        """Puts numbers beside the count, from now on."""
        texts = {name: f"{value:.3g}" for name, value in values.items()}
        self._beside = "".join(f", {name}={text}" for name, text in texts.items())
        self._bar.set_postfix(texts)

    def over(self, items: Iterable[_Item]) -> Iterator[_Item]:
        """Yields the items; each is done when the next one is asked for."""
        for item in items:
            yield item
            self.add()


def say(text: str) -> None:
    """Prints lines on stderr, above the bar where one is shown."""
    tqdm.write(text, file=sys.stderr)


def duration(seconds: float) -> str:
    """`75 s`, `2.5 min` or `1.6 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.1f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
