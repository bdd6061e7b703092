"""The run directory: resolved config, append-only statistics, checkpoints, samples."""

import contextlib
import json
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

from absl import logging

from cgt_tf import config as configs
from cgt_tf.data.image_set import ImageSet
from cgt_tf.errors import InputError
from cgt_tf.files import TEMPORARY, check_writable, write_atomically
from cgt_tf.metrics.ranking import ranked
from cgt_tf.runs import lock, record, saved, stats

LOG = "log.txt"


class RunDir:
    """Paths and small files of one run.

    Args:
        path: The run's directory; of several workers, one they all can read.
        chief: Whether this process writes there. What other workers of a multi-machine run write
            (all take part in saving) goes to a temporary directory of theirs, which ends with it.

    Attributes:
        path: The run's directory.
        chief: As given.
        samples, events: Directories to write pictures and TensorBoard events to.
    """

    def __init__(self, path: str | Path, chief: bool = True):
        self.path = Path(path)
        self.chief = chief
        self._output = self.path
        if not chief:
            self._output = Path(tempfile.mkdtemp(prefix="cgt_tf_worker_"))
            weakref.finalize(self, shutil.rmtree, self._output, ignore_errors=True)
        self.samples = self._output / "samples"
        self.events = self._output / "events"

    @property
    def exists(self) -> bool:
        return (self.path / record.FILE).is_file()

    def check_place(self) -> None:
        """`InputError` for a directory that holds something else, or that cannot be written."""
        if not self.chief:
            return
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"expected --workdir to be a directory, got the file {self.path}")
        # What the first of several workers writes before config.json is there.
        others = [p for p in self.path.glob("*") if not p.name.startswith((lock.FILE, TEMPORARY))]
        if others and not self.exists:
            raise InputError(f"expected --workdir to be new or a run of cgt-train, got {self.path}")
        check_writable(self.path, "a --workdir")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Creates the directory and keeps other processes from training in it.

        Raises:
            InputError: another process does, or it is no place for a run.
        """
        self.check_place()
        if not self.chief:
            yield
            return
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with lock.locked(self.path):
                yield
        finally:
            # A run that was refused leaves nothing.
            if [p.name for p in self.path.iterdir()] == [lock.FILE]:
                shutil.rmtree(self.path)

    def open(
        self,
        config: configs.Config,
        class_names: Sequence[str],
        images: ImageSet | None = None,
        last_step: int | None = None,
    ) -> None:
        """Writes `config.json`, or checks that a resumed run's may go on like this.

        Args:
            config: The run's config.
            class_names: The classes that are learnt, in label order.
            images: The training images; None: they are not compared.
            last_step: Last step of the run.

        Raises:
            InputError: the directory holds another run, or files that are not a run's.
        """
        if self.exists:
            done = max(self.saved_steps(), default=0)
            new = record.resumed(self.record(), config, class_names, images, done)
            if last_step is not None and done > last_step:
                raise InputError(f"expected a run of at least the {done} steps that it has made")
        elif self.chief:
            self.check_place()
            new = record.create(config, class_names, images)
        if self.chief:
            self.path.mkdir(parents=True, exist_ok=True)
            self._write_record(new)
        for directory in (self.samples, self.events):
            directory.mkdir(parents=True, exist_ok=True)

    def config(self) -> dict:
        """The config the run was started with, see `methods.registry.config_from_dict`."""
        return self.record()["config"]

    def class_names(self) -> tuple[str, ...]:
        """The classes that the run learns, in label order."""
        return tuple(self.record()["class_names"])

    def record(self) -> dict:
        """All of `config.json`, see `runs.record`."""
        if not self.exists:
            raise InputError(f"expected a run of cgt-train, with a config.json, got {self.path}")
        return record.read(self.path / record.FILE)

    def _write_record(self, values: dict) -> None:
        path = self.path / record.FILE
        text = json.dumps(values, indent=2, ensure_ascii=False)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_atomically(path, text)

    def append_log(self, text: str) -> None:
        """Adds lines with the time to `log.txt`."""
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        if self.chief:
            with (self.path / LOG).open("a", encoding="utf-8") as file:
                file.writelines(f"{now}  {line}\n" for line in text.splitlines())

    def append_stats(self, values: dict) -> None:
        """Adds one line to `stats.jsonl`."""
        stats.append(self._output / stats.FILE, values)

    def read_stats(self) -> list[dict]:
        """All lines of `stats.jsonl`, in order."""
        return stats.read(self.path / stats.FILE)

    def truncate_stats(self, step: int) -> None:
        """Drops lines after `step`: work that was done after the checkpoint a run resumes from."""
        if self.chief:
            stats.cut(self.path / stats.FILE, step)

    @property
    def criterion(self) -> str:
        """Name of the score that makes a checkpoint the best; "" where none does."""
        # Of several workers, the first may not have written the record yet.
        return record.evaluation_of(self.record()).best if self.exists else ""

    def scores(self) -> dict[int, float]:
        """The criterion's values by step, of evaluations with the present settings."""
        criterion = self.criterion
        if not criterion:
            return {}
        first = record.scores_from(self.record())
        values = stats.column(self.path / stats.FILE, criterion)
        return {step: value for step, value in values.items() if step > first}

    def checkpoint_path(self, step: int) -> Path:
        """Prefix of a saved checkpoint's files."""
        return saved.directory_of(self.path, step) / saved.STATE

    def snapshot_path(self, step: int) -> Path:
        """Directory of a checkpoint's GAN, its EMA, folded, see `formats.native`."""
        return saved.directory_of(self.path, step) / saved.GAN

    def new_checkpoint(self, step: int) -> tuple[Path, Path]:
        """What to write a checkpoint to, in place of `checkpoint_path` and `snapshot_path`.

        A checkpoint counts once `complete_checkpoint` was called.
        """
        directory = saved.directory_of(self._output, step)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        return directory / saved.STATE, directory / saved.GAN

    def complete_checkpoint(self, step: int) -> None:
        """Notes size and digest of the files of a checkpoint, which completes it."""
        if not self.chief:
            return
        saved.complete(saved.directory_of(self.path, step), step)
        values = self.record()
        if "first_checkpoint" not in values:
            self._write_record({**values, "first_checkpoint": step})

    def saved_steps(self) -> list[int]:
        """Steps with a complete checkpoint, ascending."""
        return saved.complete_steps(self.path)

    def newest_sound(self) -> int | None:
        """The newest step whose checkpoint training can go on from; None before the first.

        Raises:
            InputError: there have been checkpoints, of which none is left or sound.
        """
        found = saved.first_sound(self.path, self.saved_steps()[::-1], saved.STATE)
        if found is None and self.exists and "first_checkpoint" in self.record():
            raise InputError(
                f"expected a checkpoint to go on from in {self.path}, found none that is sound; "
                "remove the directory to start anew"
            )
        return found

    def keep_checkpoints(self, last: int, best: int) -> None:
        """Deletes all checkpoints but the last few and the best few of those with a score."""
        if not self.chief:
            return
        steps = self.saved_steps()
        for step in set(steps) - set(steps[-last:]) - set(self._ranked()[:best]):
            shutil.rmtree(saved.directory_of(self.path, step))
        saved.remove_incomplete(self.path, steps[-1])

    def _ranked(self) -> list[int]:
        """Steps with a checkpoint and a score, the best first."""
        scores, saved_steps = self.scores(), set(self.saved_steps())
        kept = {step: value for step, value in scores.items() if step in saved_steps}
        return ranked(self.criterion, kept)

    def resolve_checkpoint(self, which: str, part: str = saved.GAN) -> int:
        """The step that `best`, `last` or a number means; damaged checkpoints are passed over.

        Without scores the last is the best, which a warning says.

        Args:
            which: See above.
            part: Part of a checkpoint that is going to be read, `saved.GAN` or `saved.STATE`.

        Raises:
            InputError: there is no such checkpoint, or the one with this number is damaged.
        """
        steps = self.saved_steps()
        if not steps:
            raise InputError(f"expected checkpoints in {self.path}, found none")
        if which.isdigit() and int(which) in steps:
            reason = saved.damage(self.path, int(which), part)
            if reason:
                raise InputError(
                    f"expected a sound checkpoint of step {which}: {reason}: {self.path}"
                )
            return int(which)
        if which not in ("best", "last"):
            raise InputError(
                f"expected the checkpoint best, last or one of {', '.join(map(str, steps))}, got "
                f"{which!r}"
            )
        scored = self._ranked() if which == "best" else []
        found = saved.first_sound(self.path, dict.fromkeys([*scored, *steps[::-1]]), part)
        if found is None:
            raise InputError(f"expected a sound checkpoint in {self.path}, all are damaged")
        if which == "best" and found not in scored:
            reason = "no checkpoint with a score is sound" if scored else "there are no scores"
            logging.warning(
                "%s, so step %d, the last checkpoint, is the best: %s", reason, found, self.path
            )
        return found
