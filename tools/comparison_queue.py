"""Runs of a comparison one after the other: trained, kept, committed, never twice."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from comparison_plan import DIVERGED, STATS, Run

from cgt_tf.errors import InputError
from cgt_tf.files import staged_directory

_KEPT = ("config.json", STATS)
# What cgt-train says before it ends, where a loss or a weight was not finite.
_DIVERGENCE = "cgt-train: stopped: "


def work_off(
    runs: Iterable[Run],
    output: Path,
    kept: Path,
    train_command: list[str],
    *,
    commit: bool = False,
    keep_checkpoints: bool = True,
) -> None:
    """Trains what is not kept yet, and keeps it before the next run is asked for.

    A training that was stopped goes on where it was. What diverged is kept as far as it came, with
    a file that says so, and is not tried again.

    Args:
        runs: the next one may depend on what is kept of those before it.
        output: directory of all runs, `<path>` of each and `<path>.log` beside it.
        kept: directory that gets config.json and stats.jsonl of each, by the same paths.
        train_command: cgt-train.
        commit: adds each to git and commits it, and nothing else; what could not be committed is
            tried again after the next run.
        keep_checkpoints: False removes those of runs that are kept.

    Raises:
        InputError: a training that failed; its log tells why.
    """
    pending = []
    for run in runs:
        place = kept / run.path
        if not place.exists():
            outcome = _train(run, output / run.path, train_command)
            _keep(output / run.path, place, outcome)
            if not keep_checkpoints:
                shutil.rmtree(output / run.path / "checkpoints", ignore_errors=True)
        if commit:
            pending = [path for path in [*pending, place] if not _committed(path, kept)]
    if pending:
        raise InputError(f"expected to commit all statistics, git refused {len(pending)} of them")


def _train(run: Run, workdir: Path, train_command: list[str]) -> str:
    """Returns the last words of a run that diverged, else nothing."""
    workdir.parent.mkdir(parents=True, exist_ok=True)
    command = [*train_command, *run.arguments, f"--workdir={workdir}"]
    print(f"{run.path}: {' '.join(command)}", flush=True)
    path = workdir.with_name(f"{workdir.name}.log")
    with path.open("a", encoding="utf-8") as log:
        start = log.tell()
        status = _call(command, log)
    if not status:
        return ""
    lines = path.read_bytes()[start:].decode(errors="replace").splitlines()
    diverged = [line for line in lines if line.startswith(_DIVERGENCE)]
    if not diverged:
        raise InputError(
            f"expected a training that ends, got exit status {status}: {lines[-1] if lines else ''}"
            f" (all in {path})"
        )
    return diverged[-1].removeprefix(_DIVERGENCE)


def _call(command: list[str], log) -> int:
    """Exit status of a command that ends with this process, which a signal may end."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        return process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def _keep(workdir: Path, place: Path, outcome: str) -> None:
    """All at once, so that what is there is whole."""
    with staged_directory(place) as staging:
        for name in _KEPT:
            shutil.copyfile(workdir / name, staging / name)
        if outcome:
            (staging / DIVERGED).write_text(f"{outcome}\n", encoding="utf-8")


def _committed(place: Path, kept: Path) -> bool:
    """Commits a kept run, unless it is; whether it is now."""
    git = ["git", "-C", str(kept)]
    path = str(place.absolute())

    def call(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([*git, *arguments, "--", path], capture_output=True, text=True)

    name = place.relative_to(kept).as_posix()
    status, known = call("status", "--porcelain"), call("ls-files")
    if status.returncode or known.returncode:
        print(f"{name}: not committed: {status.stderr.strip()}", file=sys.stderr, flush=True)
        return False
    # What git ignores has a clean status, too.
    if known.stdout.strip() and not status.stdout.strip():
        return True
    for arguments in (("add",), ("commit", "-q", "-m", f"Comparison: statistics of {name}")):
        done = call(*arguments)
        if done.returncode:
            print(f"{name}: not committed: {done.stderr.strip()}", file=sys.stderr, flush=True)
            return False
    return True
