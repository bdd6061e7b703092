"""Runs the package's commands as processes of their own."""

import subprocess
import sys


def run(command, *arguments, check=True):
    """The completed process; with `check`, one that ended with status 0."""
    result = subprocess.run(
        [sys.executable, "-m", f"cgt_tf.cli.{command}", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if check:
        assert result.returncode == 0, result.stderr
    return result
