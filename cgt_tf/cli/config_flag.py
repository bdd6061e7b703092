"""`--config`: every field of a config dataclass as a flag such as --config.data.train=photos/."""

from __future__ import annotations

import ast
import dataclasses
import re
import sys
from typing import Any, TypeVar, get_type_hints

from absl import flags
from ml_collections import config_flags

_Config = TypeVar("_Config")


def define_config(config: _Config) -> flags.FlagHolder[_Config]:
    """Defines the flags of a dataclass and its nested dataclasses.

    Beyond `config_flags.DEFINE_config_dataclass`: a field that does not exist is an unknown flag
    like any other, where that function raises a KeyError while the module is imported; and a
    tuple of strings or numbers is written `a,b`.

    Args:
      config: instance with the default values.
    """
    for item in (str, int, float):
        config_flags.register_flag_parser_for_type(tuple[item, ...], _TupleParser(item))
    fields = _field_paths(type(config))
    try:
        argv = flags.FLAGS.read_flags_from_files(sys.argv, force_gnu=False)
    except flags.Error:  # A missing flagfile, say; parsing the flags will meet and report it.
        argv = sys.argv[:1]
    known = [argument for argument in argv if _field_of(argument) in (None, *fields)]
    return config_flags.DEFINE_config_dataclass("config", config, sys_argv=known)


class _TupleParser(flags.ArgumentParser):
    """`a,b`, or `("a, with a comma", "b")`; empty text is an empty tuple."""

    def __init__(self, item: type):
        super().__init__()
        self._item = item

    def parse(self, argument: Any) -> tuple:
        if isinstance(argument, tuple):
            return argument
        if not argument.startswith(("(", "[")):
            return tuple(self._item(part.strip()) for part in argument.split(",") if part.strip())
        try:
            values = tuple(ast.literal_eval(argument))
        except (SyntaxError, TypeError):
            raise ValueError(f"expected a,b or ('a', 'b'), got {argument}") from None
        return tuple(self._item(value) for value in values)

    def flag_type(self) -> str:
        return f"comma-separated {self._item.__name__}"


def _field_paths(config_type: type, prefix: str = "") -> set[str]:
    paths = set()
    hints = get_type_hints(config_type)
    for field in dataclasses.fields(config_type):
        paths.add(prefix + field.name)
        if dataclasses.is_dataclass(hints[field.name]):
            paths |= _field_paths(hints[field.name], f"{prefix}{field.name}.")
    return paths


def _field_of(argument: str) -> str | None:
    """`data.train` of `--config.data.train=x`, None for any other argument."""
    match = re.match(r"--?(?:no)?config\.([^=]*)", argument)
    return match.group(1) if match else None
