"""`--config`: every field of a config dataclass as a flag such as --config.data.train=photos/."""

from __future__ import annotations

import dataclasses
import itertools
import re
import sys
from typing import Any, TypeVar, get_type_hints

from absl import flags
from ml_collections import config_flags

from cgt_tf import flagfiles, knobs
from cgt_tf.errors import InputError
from cgt_tf.methods import registry

_Config = TypeVar("_Config")
_METHOD = "--config.method.name"


def define_run_config() -> flags.FlagHolder:
    """Defines the flags of a run: those of all runs, and those of the method that is named.

    The command line, flagfiles included, is looked through for the method, whose own group of knobs
    the config then has. A method that does not exist is left to `registry.validate`.
    """
    name = _method_named(_arguments())
    known = name if name in registry.METHODS else registry.DEFAULT
    return define_config(registry.config_type(known)())


def check_foreign_knobs(argv: list[str]) -> None:
    """`InputError` for a knob of another method than the one that the arguments name.

    Args:
      argv: The command line with its flagfiles read in.
    """
    name = _method_named(argv)
    for argument in argv:
        path = _field_of(argument)
        if path and "." in path and path.partition(".")[0] in set(registry.METHODS) - {name}:
            raise InputError(registry.foreign_knob(path, name))


def _method_named(arguments: list[str]) -> str:
    """The last value of --config.method.name, given as `=value` or as the next argument."""
    name = registry.DEFAULT
    for argument, following in itertools.zip_longest(arguments, arguments[1:], fillvalue=""):
        flag, equals, value = argument.replace("--", "-", 1).partition("=")
        if "-" + flag == _METHOD:
            name = value if equals else following
    return name


def _arguments() -> list[str]:
    """The command line with its flagfiles read in, as far as they can be."""
    try:
        return flagfiles.expand(sys.argv)
    except InputError:  # A missing flagfile, say; parsing the flags will meet and report it.
        return sys.argv[:1]


def define_config(config: _Config) -> flags.FlagHolder[_Config]:
    """Defines the flags of a dataclass and its nested dataclasses.

    Beyond `config_flags.DEFINE_config_dataclass`: a field that does not exist is an unknown flag
    like any other, where that function raises a KeyError while the module is imported; and a
    tuple of strings or numbers is written `a,b`.

    Args:
      config: Instance with the default values.
    """
    for item in (str, int, float):
        config_flags.register_flag_parser_for_type(tuple[item, ...], _TupleParser(item))
    fields = _field_paths(type(config))
    known = [argument for argument in _arguments() if _field_of(argument) in (None, *fields)]
    return config_flags.DEFINE_config_dataclass("config", config, sys_argv=known)


class _TupleParser(flags.ArgumentParser):
    """`a,b`, or `("a, with a comma", "b")`; empty text is an empty tuple."""

    def __init__(self, item: type):
        super().__init__()
        self._item = item

    def parse(self, argument: Any) -> tuple:
        if isinstance(argument, tuple):
            return argument
        return knobs.parse_tuple(argument, self._item)

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
