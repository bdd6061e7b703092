"""Runs the package's commands in the test's own process, each with flags of its own."""

import importlib
import sys

from absl import flags

_OURS = "cgt_tf.cli."


def invoke(command, *arguments):
    """Exit status of a command; what it prints goes where the test's own output goes."""
    for module, defined in flags.FLAGS.flags_by_module_dict().items():
        for flag in list(defined):
            if module.startswith(_OURS) or flag.name.split(".")[0] == "config":
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


def contents(directory):
    """Every file below a directory with its bytes, and every folder."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(directory.rglob("*"))
    }
