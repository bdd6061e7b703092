"""Knobs by their names, `training.steps`, as Python values or as the text of a flagfile."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from cgt_tf.errors import InputError

_FLAG = re.compile(r"--?(no)?config\.([^=]+)(?:=(.*))?", re.DOTALL)
_TRUE, _FALSE = ("true", "t", "1"), ("false", "f", "0")


def parse_tuple(text: str, item: type) -> tuple:
    """`a,b`, or `('a, with a comma', 'b')`; empty text is an empty tuple.

    Raises:
        ValueError: neither of them, or an item of another type.
    """
    if not text.startswith(("(", "[")):
        return tuple(item(part.strip()) for part in text.split(",") if part.strip())
    try:
        values = tuple(ast.literal_eval(text))
    except (SyntaxError, TypeError):
        raise ValueError(f"expected a,b or ('a', 'b'), got {text}") from None
    return tuple(item(value) for value in values)


def parse(text: str, kind: Any, name: str) -> Any:
    """The value of a knob of a type, as its flag would be read.

    Raises:
        InputError: text that is no such value.
    """
    items = get_args(kind)
    try:
        if items:
            return parse_tuple(text, items[0])
        if kind is bool:
            return _boolean(text)
        return kind(text)
    except ValueError as error:
        raise InputError(f"expected a value of --config.{name}, got {text!r}: {error}") from None


def _boolean(text: str) -> bool:
    if text.lower() not in (*_TRUE, *_FALSE):
        raise ValueError("neither true nor false")
    return text.lower() in _TRUE


def of_flags(arguments: Sequence[str]) -> dict[str, str]:
    """The texts of `--config.<knob>=<text>`, `--config.<knob>` and `--noconfig.<knob>`.

    Raises:
        InputError: another argument.
    """
    texts = {}
    for argument in arguments:
        match = _FLAG.fullmatch(argument)
        if not match:
            raise InputError(f"expected a flagfile of --config.<knob>=<value>, got {argument!r}")
        negated, name, text = match.groups()
        texts[name] = text if text is not None else str(not negated)
    return texts


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"training": {"steps": 5}}` and `{"training.steps": 5}` -> `{"training.steps": 5}`."""
    flat = {}
    for name, value in values.items():
        inner = isinstance(value, Mapping)
        flat |= flattened(value, f"{prefix}{name}.") if inner else {prefix + name: value}
    return flat


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flattened`."""
    groups: dict[str, Any] = {}
    for name, value in values.items():
        *path, last = name.split(".")
        group = groups
        for part in path:
            group = group.setdefault(part, {})
            if not isinstance(group, dict):
                raise InputError(f"expected {name} or {part}, got both")
        group[last] = value
    return groups
