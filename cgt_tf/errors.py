"""The one exception type for everything a user can put right."""

from collections.abc import Iterable


class InputError(ValueError):
    """Bad flags, files, images, checkpoints, shapes or class counts.

    The message is one line that says what was expected and what was given. Commands print it
    without a traceback and exit with status 2; library callers may catch it as a `ValueError`.
    """


def first_few(names: Iterable[str], count: int = 5) -> str:
    """Names in a message: all, or of more than `count` the first ones and an ellipsis."""
    names = list(names)
    return ", ".join([*names[:count], *["..."] * (len(names) > count)])
