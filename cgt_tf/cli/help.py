"""`--help` of a command: its description, and its flags from what most runs set to the rest.

Not absl's own help: that finds no flags under a console script, and ends with status 1.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence

from absl import flags

from cgt_tf import flagfiles
from cgt_tf.config import COMMON_KNOBS

_HELP = ("--help", "-help", "-h", "--helpshort", "-helpshort", "-?")


def is_wanted(arguments: Sequence[str]) -> bool:
    """Whether one of the arguments asks for help; after `--` nothing is a flag."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return any(argument in _HELP for argument in arguments[:end])


def text(main: Callable, name: str, description: str) -> str:
    """The whole help of a command.

    Args:
      main: Defined in the module whose flags are listed.
      name: Name of the command.
      description: What stands above the flags.
    """
    return (
        f"{description.strip()}\n\nflags:\n{_flags_help(main)}\n\n"
        f"Try {name} --helpfull for the flags of the libraries, --list_presets for the package's "
        "flagfiles, --version for its version."
    )


def presets() -> str:
    """The flagfiles of the package by name, a line each."""
    named = {name: path for name, path in flagfiles.presets().items() if name[:5] != "base/"}
    width = max(map(len, named))
    return "\n".join(f"{name:{width}}  {flagfiles.summary(path)}" for name, path in named.items())


def _flags_help(main: Callable) -> str:
    # absl files the flags of a script under its path.
    module = sys.argv[0] if main.__module__ == "__main__" else main.__module__
    lines = []
    for flag in sorted(flags.FLAGS.flags_by_module_dict().get(module, ()), key=lambda f: f.name):
        if flag.name == "config":
            continue
        lines.append(f"  --{flag.name}: {' '.join(flag.help.split())}")
        if flag.default_as_str not in (None, "''", "'false'"):
            lines[-1] += f" (default {flag.default_as_str})"
    if "config" in flags.FLAGS:
        lines.extend(_config_help(flags.FLAGS["config"].default))
    return "\n".join(lines)


def _config_help(config: object) -> Iterator[str]:
    """What most runs set, then the chosen method's own knobs, then all others."""
    every = dict(_fields_help(config, ""))
    method = getattr(getattr(config, "method", None), "name", "")
    groups = {
        "most runs set": [path for path in COMMON_KNOBS if path in every],
        f"of the method {method}": [path for path in every if path.startswith(f"{method}.")],
        "all others": list(every),
    }
    for title, paths in groups.items():
        lines = [every.pop(path) for path in paths if path in every]
        yield from [f"\n{title}:", *lines] if lines else []


def _fields_help(config: object, prefix: str) -> Iterator[tuple[str, str]]:
    """The path of every field of a config dataclass, and its line with the default value."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from _fields_help(value, f"{prefix}{field.name}.")
        else:
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
            text = field.metadata.get("help", "")
            path = f"{prefix}{field.name}"
            yield path, f"  --config.{path}={shown}" + (f": {text}" if text else "")
