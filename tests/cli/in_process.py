"""Runs the package's commands in the test's own process, each with flags of its own."""

import contextlib
import importlib
import io
import subprocess
import sys
from pathlib import Path

from absl import flags

_OURS = "cgt_tf.cli."
_TOOLS = {path.stem for path in (Path(__file__).parents[2] / "tools").glob("*.py")}


def invoke(command, *arguments):
    """Exit status of a command; what it prints goes where the test's own output goes."""
    for module, defined in flags.FLAGS.flags_by_module_dict().items():
        for flag in list(defined):
            ours = module.startswith(_OURS) or module in _TOOLS
            if ours or flag.name.split(".")[0] == "config":
                delattr(flags.FLAGS, flag.name)
    before = sys.argv
    sys.argv = [f"cgt-{command.rstrip('_')}", *arguments]
    try:
        name = f"{_OURS}{command}"
        loaded = sys.modules.get(name)
        module = importlib.reload(loaded) if loaded else importlib.import_module(name)
        flags.FLAGS.unparse_flags()
        module.entry_point()
    except SystemExit as end:
        return end.code or 0
    finally:
        sys.argv = before
    return 0


def run(command, *arguments, check=True):
    """The same as if it had been a process; with `check`, one that ended with status 0."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = invoke(command, *arguments)
    texts = (stream.buffer.getvalue().decode() for stream in (out, err))
    result = subprocess.CompletedProcess(command, status, *texts)
    if check:
        assert result.returncode == 0, result.stderr
    return result


def contents(directory):
    """Every file below a directory with its bytes, and every folder."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(directory.rglob("*"))
    }
