"""Runs commands and tools in the test's own process, each with flags of its own."""

import contextlib
import importlib
import io
import runpy
import subprocess
import sys
from pathlib import Path

from absl import flags

_OURS = "cgt_tf.cli."
_TOOLS = {path.stem: path for path in (Path(__file__).parents[1] / "tools").glob("*.py")}


def invoke(command, *arguments):
    """Exit status of a command; what it prints goes where the test's own output goes."""

    def start():
        name = f"{_OURS}{command}"
        loaded = sys.modules.get(name)
        module = importlib.reload(loaded) if loaded else importlib.import_module(name)
        flags.FLAGS.unparse_flags()
        module.entry_point()

    return _status(start, f"cgt-{command.rstrip('_')}", *arguments)


def run(command, *arguments, check=True):
    """The same as if it had been a process; with `check`, one that ended with status 0."""
    return _process(lambda: invoke(command, *arguments), check)


def run_tool(name, *arguments, check=True):
    """The same of a script in tools/, by its name without the ending."""

    def start():
        flags.FLAGS.unparse_flags()
        runpy.run_path(str(_TOOLS[name]), run_name="__main__")

    path, modules = sys.path[:], sys.modules.keys() & _TOOLS.keys()
    sys.path.insert(0, str(_TOOLS[name].parent))
    try:
        return _process(lambda: _status(start, name, *arguments), check)
    finally:
        sys.path[:] = path
        # What it imported from beside it defines its flags anew next time.
        for module in (sys.modules.keys() & _TOOLS.keys()) - modules:
            del sys.modules[module]


def _status(start, *argv):
    for module, defined in flags.FLAGS.flags_by_module_dict().items():
        for flag in list(defined):
            # Of a script, absl takes the path for its module.
            ours = module.startswith(_OURS) or Path(module).stem in _TOOLS
            if ours or flag.name.split(".")[0] == "config":
                delattr(flags.FLAGS, flag.name)
    before = sys.argv
    sys.argv = list(map(str, argv))
    try:
        start()
    except SystemExit as end:
        return end.code or 0
    finally:
        sys.argv = before
    return 0


def _process(status, check):
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = status()
    texts = (stream.buffer.getvalue().decode() for stream in (out, err))
    result = subprocess.CompletedProcess([], code, *texts)
    if check:
        assert result.returncode == 0, result.stderr
    return result


def contents(directory):
    """Every file below a directory with its bytes, and every folder."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(directory.rglob("*"))
    }
