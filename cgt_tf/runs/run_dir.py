"""The run directory: resolved config, append-only statistics, checkpoints, samples."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cgt_tf import config as configs
from cgt_tf.errors import InputError

_PACKAGES = ("tensorflow", "keras", "tensorflow-gan", "tensorflow-datasets", "numpy", "cgt_tf")


class RunDir:
    """Paths and small files of one run.

    Args:
        path: the run's directory; of several workers, one they all can read.
        chief: whether this process writes there. What other workers of a multi-machine run write
            (all take part in saving) goes to a temporary directory of theirs.

    Attributes:
        path: the run's directory.
        chief: as given.
        samples, events: directories to write pictures and TensorBoard events to.
    """

    def __init__(self, path: str | Path, chief: bool = True):
        self.path = Path(path)
        self.chief = chief
        self._output = self.path if chief else Path(tempfile.mkdtemp(prefix="cgt_tf_worker_"))
        self.samples = self._output / "samples"
        self.events = self._output / "events"

    @property
    def exists(self) -> bool:
        return (self.path / "config.json").is_file()

    def open(self, config: configs.Config, class_names: Sequence[str]) -> None:
        """Creates the directory with `config.json`, or checks that a resumed run's is the same.

        Args:
            config: the run's config.
            class_names: the classes that are learnt, in label order.

        Raises:
            InputError: the directory holds another run, or files that are not a run's.
        """
        if self.exists:
            self._check_unchanged(config)
        elif self.chief:
            self._create(config, class_names)
        for directory in (self.samples, self.events):
            directory.mkdir(parents=True, exist_ok=True)

    def _create(self, config: configs.Config, class_names: Sequence[str]) -> None:
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise InputError(f"expected --workdir to be new or a run of cgt-train, got {self.path}")
        self.path.mkdir(parents=True, exist_ok=True)
        versions = {name: _version(name) for name in _PACKAGES}
        record = {
            "config": configs.to_dict(config),
            "class_names": list(class_names),
            "versions": versions,
            "commit": _commit(),
        }
        text = json.dumps(record, indent=2, ensure_ascii=False)
        write_atomically(self.path / "config.json", text)

    def _check_unchanged(self, config):
        stored = _flat(self.config())
        given = _flat(json.loads(json.dumps(configs.to_dict(config))))
        changed = [
            f"{k} was {stored.get(k)!r}, is {given.get(k)!r}"
            for k in {**stored, **given}
            if stored.get(k) != given.get(k)
        ]
        if changed:
            raise InputError(f"a resumed run keeps its config, got changes: {'; '.join(changed)}")

    def config(self) -> dict:
        """The config the run was started with, see `methods.registry.config_from_dict`."""
        return self._record()["config"]

    def class_names(self) -> tuple[str, ...]:
        """The classes that the run learns, in label order."""
        return tuple(self._record()["class_names"])

    def _record(self) -> dict:
        if not self.exists:
            raise InputError(f"expected a run of cgt-train, with a config.json, got {self.path}")
        return json.loads((self.path / "config.json").read_text(encoding="utf-8"))

    def append_stats(self, record: dict) -> None:
        """Adds one line to `stats.jsonl`."""
        with (self._output / "stats.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def read_stats(self) -> list[dict]:
        """All lines of `stats.jsonl`, in order."""
        path = self.path / "stats.jsonl"
        if not path.is_file():
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def truncate_stats(self, step: int) -> None:
        """Drops lines after `step`: work that was done after the checkpoint a run resumes from."""
        records = self.read_stats()
        kept = [record for record in records if record["step"] <= step]
        if self.chief and len(kept) < len(records):
            text = "".join(json.dumps(record) + "\n" for record in kept)
            write_atomically(self.path / "stats.jsonl", text)

    def checkpoint_path(self, step: int) -> Path:
        """Prefix of a saved checkpoint's files."""
        return self._step_directory(step) / "state"

    def snapshot_path(self, step: int) -> Path:
        """Directory of a checkpoint's averaged, folded GAN, see `formats.native`."""
        return self._step_directory(step) / "gan"

    def _step_directory(self, step: int) -> Path:
        return self.path / "checkpoints" / f"step_{step:07d}"

    def new_checkpoint(self, step: int) -> tuple[Path, Path]:
        """What to write a checkpoint to, in place of `checkpoint_path` and `snapshot_path`.

        A checkpoint counts as complete once its `state.index` is there, which is written last.
        """
        directory = self._output / self._step_directory(step).relative_to(self.path)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        return directory / "state", directory / "gan"

    def saved_steps(self) -> list[int]:
        """Steps with a complete checkpoint, ascending."""
        found = self.path.glob("checkpoints/step_*/state.index")
        return sorted(int(path.parent.name.removeprefix("step_")) for path in found)

    def keep_checkpoints(self, last: int, best: int) -> None:
        """Deletes all checkpoints but the last few and those of the lowest FIDs."""
        if not self.chief:
            return
        fids = {r["step"]: r["fid"] for r in self.read_stats() if "fid" in r}
        saved = self.saved_steps()
        ranked = sorted((step for step in saved if step in fids), key=lambda step: fids[step])
        for step in set(saved) - set(saved[-last:]) - set(ranked[:best]):
            shutil.rmtree(self._step_directory(step))

    def resolve_checkpoint(self, which: str) -> int:
        """The step that `best`, `last` or a number means.

        Raises:
            InputError: there is no such checkpoint.
        """
        saved = self.saved_steps()
        if not saved:
            raise InputError(f"expected checkpoints in {self.path}, found none")
        if which == "last":
            return saved[-1]
        if which == "best":
            fids = {r["step"]: r["fid"] for r in self.read_stats() if "fid" in r}
            scored = [step for step in saved if step in fids]
            return min(scored, key=lambda step: fids[step]) if scored else saved[-1]
        if which.isdigit() and int(which) in saved:
            return int(which)
        raise InputError(
            f"expected the checkpoint best, last or one of {', '.join(map(str, saved))}, got "
            f"{which!r}"
        )


def write_atomically(path: Path, text: str) -> None:
    """Writes a text file so that it is either the old or the new one, never half."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def _flat(values: dict, prefix: str = "") -> dict:
    flat = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Commit of a checkout this package runs from, if it does."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return result.stdout.strip() or None
