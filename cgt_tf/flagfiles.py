"""Flagfiles: `--flagfile=<path>` and `--preset=<name>` replaced by the flags that they hold.

A flagfile has one flag a line; empty lines and those that start with # or // say nothing to a
command. It includes another with a line `--flagfile=<path>`, relative to itself, so that
flagfiles can be moved, and used from any directory, an installed package's included. absl's own
reading resolves such lines against the working directory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from cgt_tf.errors import InputError

_OPTION = re.compile(r"--?(flagfile|preset)(?:=(.*))?", re.DOTALL)
_ENDING = ".flags"


def expand(arguments: Sequence[str]) -> list[str]:
    """Arguments with flagfiles and presets replaced by their lines, in place.

    Raises:
        InputError: a file that cannot be read or includes itself, or a preset that does not exist.
    """
    return list(_expanded(arguments, Path(), ()))


def directory() -> Path:
    """Where the flagfiles of this package are: in a wheel inside of it, else beside it."""
    package = Path(__file__).parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.with_name("configs")


def preset(name: str) -> Path:
    """The flagfile `glyphs_transfer` or `methods/minegan` of this package.

    Raises:
        InputError: there is none of that name, or several in different folders.
    """
    every = presets()
    wanted = name.removesuffix(_ENDING)
    if wanted in every:
        return every[wanted]
    found = [other for other in every if other.rpartition("/")[2] == wanted]
    if len(found) != 1:
        known = found or [other for other in every if not other.startswith("base/")]
        raise InputError(f"expected a preset, one of {', '.join(known)}, got {name!r}")
    return every[found[0]]


def presets() -> dict[str, Path]:
    """The flagfiles of this package by their names, `<folder>/<file>` without its ending."""
    root = directory()
    paths = sorted(root.glob(f"*/*{_ENDING}"))
    return {path.relative_to(root).with_suffix("").as_posix(): path for path in paths}


def summary(path: Path) -> str:
    """The first sentence of a flagfile's head."""
    head = re.match(r"(?:#[^\n]*\n)+", path.read_text(encoding="utf-8"))[0]
    paragraph = re.sub(r"\n?# ?", " ", head.split("\n#\n")[0]).strip()
    return re.split(r"(?<=[a-z0-9)]\.) (?=[A-Z])", paragraph)[0]


def _expanded(arguments: Sequence[str], place: Path, open_files: tuple) -> Iterator[str]:
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--":
            yield from (argument, *remaining)
            return
        match = _OPTION.fullmatch(argument)
        if not match:
            yield argument
            continue
        option, value = match.groups()
        value = next(remaining, "") if value is None else value
        path = preset(value) if option == "preset" else place / os.path.expanduser(value)
        yield from _lines_of(path, open_files)


def _lines_of(path: Path, open_files: tuple) -> Iterator[str]:
    real = path.resolve()
    if real in open_files:
        raise InputError(f"expected flagfiles that do not include themselves, got {path}")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no text in UTF-8"
        raise InputError(f"expected a flagfile, got {path}: {reason}") from None
    stripped = (line.strip() for line in lines)
    arguments = [line for line in stripped if line and not line.startswith(("#", "//"))]
    yield from _expanded(arguments, path.parent, (*open_files, real))
