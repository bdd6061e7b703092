"""What every command does the same way: flags and their checks, one-line errors, exit status."""

from __future__ import annotations

import errno
import math
import os
import pathlib
import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from cgt_tf import flagfiles
from cgt_tf.cli import help, quiet
from cgt_tf.errors import InputError
from cgt_tf.files import check_writable
from cgt_tf.version import VERSION

EXIT_INPUT_ERROR = 2
_EXIT_INTERRUPTED = 130  # As shells report a command that was ended by Ctrl-C.
_EXIT_BROKEN_PIPE = 141  # The same of SIGPIPE.
# Asked of any command, in place of its work.
_ANSWERS = {"--list_presets": help.presets, "--version": lambda: f"cgt_tf {VERSION}"}
_LONGEST = 500  # Characters of TensorFlow's own messages.


def run(
    main: Callable[[list[str]], int | None],
    name: str,
    description: str = "",
    check: Callable[[list[str]], None] | None = None,
) -> None:
    """Runs a command and ends the process.

    Exit status: what `main` returns (None is 0); 2 after one line on stderr for an `InputError`
    or a wrong flag, after the lines of the error's `details` where it has some, and for what the
    machine refuses: full disks, missing rights, too little memory; 130 for Ctrl-C; 141 where the
    reader of the output has gone. Anything else is a defect of this program and keeps its
    traceback.

    Args:
      main: Called with the arguments that are not flags, the command's path first.
      name: The command, for messages.
      description: Text of `--help` above the flags of the module that `main` is in.
      check: Called with the arguments, flagfiles read in, before flags are parsed, for errors that
        say more than that a flag is unknown.
    """
    # Set before TensorFlow is imported: its C++ part then logs errors only.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # File and class names are shown even where the terminal's encoding lacks their characters.
    sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app.run(main, flags_parser=lambda argv: _parse(argv, main, name, description, check))
        sys.stdout.flush()
    except (InputError, flags.Error) as error:
        details = getattr(error, "details", "")
        if details:
            print(details, file=sys.stderr)
        message = " ".join(str(error).split()).removeprefix("ERROR:: ")
        print(f"{name}: error: {message}", file=sys.stderr)
        sys.exit(EXIT_INPUT_ERROR)
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        sys.exit(_EXIT_INTERRUPTED)
    except BrokenPipeError:
        # Python would fail again when it flushes the rest at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_EXIT_BROKEN_PIPE)
    except (OSError, MemoryError) as error:
        print(f"{name}: error: {_refusal(error)}", file=sys.stderr)
        sys.exit(EXIT_INPUT_ERROR)
    except _machine_errors() as error:
        print(f"{name}: error: {' '.join(str(error).split())[:_LONGEST]}", file=sys.stderr)
        sys.exit(EXIT_INPUT_ERROR)


def check_output(path: str | os.PathLike[str], flag: str) -> None:
    """`InputError` for a file or directory that could not be written, found before any work.

    Args:
        path: What a command is to write.
        flag: Flag that names it, such as `--output`.
    """
    check_writable(path, f"{flag} in a place")


def check_file(path: str, flag: str, ending: str) -> None:
    """`InputError` for a file of another ending, or in no directory that can be written."""
    if not path.endswith(ending):
        raise InputError(f"expected {flag} to end in {ending}, got {path}")
    if not pathlib.Path(path).absolute().parent.is_dir():
        raise InputError(f"expected {flag} in an existing directory, got {path}")
    check_output(path, flag)


def check_new_directory(path: str, flag: str) -> None:
    """`InputError` for a directory that holds something, or that could not be written."""
    place = pathlib.Path(path)
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise InputError(f"expected {flag} to be a new or empty directory, got {path}")
    check_output(path, flag)


def check_truncation(value: float, flag: str = "--truncation") -> None:
    """`InputError` for a truncation outside (0, 1]."""
    if not 0 < value <= 1:
        raise InputError(f"expected {flag} in (0, 1], got {value}")


def check_finite(value: float | None, flag: str, above: float = -math.inf) -> None:
    """`InputError` for the value of a flag that is not a finite number above a bound."""
    if value is not None and not above < value < math.inf:
        bound = "" if above == -math.inf else f" above {above:g}"
        raise InputError(f"expected {flag} to be a finite number{bound}, got {value}")


def _refusal(error: OSError | MemoryError) -> str:
    if isinstance(error, MemoryError):
        return (
            f"expected enough memory, got less: {' '.join(str(error).split()) or 'out of memory'}"
        )
    place = f" {error.filename}" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"expected space to write{place}, got none: {error.strerror}"
    return f"expected a file that can be used, got{place}: {error.strerror or error}"


def _machine_errors() -> tuple[type[Exception], ...]:
    """What TensorFlow raises for full disks, missing rights, lost workers and too little memory."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        return ()
    names = ("ResourceExhausted", "PermissionDenied", "Unavailable", "DataLoss", "Aborted")
    return tuple(getattr(tensorflow.errors, f"{name}Error") for name in names)


def no_arguments(argv: Sequence[str]) -> None:
    """`InputError` for arguments that are not flags; `argv[0]` is the command."""
    if len(argv) > 1:
        raise InputError(f"expected flags only (--name=value), got the argument {argv[1]!r}")


def require(value: object, flag: str, meaning: str) -> None:
    """`InputError` that names the flag, such as `--workdir`, if its value is empty."""
    if not value:
        raise InputError(f"expected {flag}={meaning}, got none (see --help)")


def _parse(
    argv: list[str], main: Callable, name: str, description: str, check: Callable | None
) -> list[str]:
    if help.is_wanted(argv[1:]):
        print(help.text(main, name, description))
        sys.exit(0)
    for asked, answer in _ANSWERS.items():
        if asked in argv[1:]:
            print(answer())
            sys.exit(0)
    argv = flagfiles.expand(argv)
    if check:
        check(argv)
    arguments = flags.FLAGS(argv)
    if flags.FLAGS["verbosity"].using_default_value:
        # TFDS tells of every file at the level INFO. absl.app leaves a verbosity alone that differs
        # from the default.
        flags.FLAGS["verbosity"].value = logging.WARNING
        flags.FLAGS["verbosity"].using_default_value = False
    if flags.FLAGS["verbosity"].value < logging.DEBUG:
        quiet.before_tensorflow()
    return arguments
