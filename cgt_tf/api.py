"""The package from Python: a transfer, and what can be done with a run.

run = cgt_tf.transfer("bundled:cifar80", "photos/", "runs/photos", training={"steps": 600})
run.grid().save("grid.png")
print(run.evaluate().metrics["fid"])
run.export("served/photos")
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import numpy as np

from cgt_tf import flagfiles, knobs
from cgt_tf.errors import InputError
from cgt_tf.methods import registry

if TYPE_CHECKING:
    from PIL import Image

    from cgt_tf.config import Config
    from cgt_tf.scoring.scores import Scores

_METHOD = "method.name"


def transfer(
    source: str | None = None,
    images: str | None = None,
    workdir: str = "",
    *,
    method: str | None = None,
    preset: str | None = None,
    **values: Any,
) -> Run:
    """Learns new classes from a few images of each, as `cgt-train` does.

    A run that was stopped, with Ctrl-C or Jupyter's button, goes on when it is called again with
    the same arguments; one that is done comes back at once.

    Args:
        source: Handle of the source GAN, see docs/sources.md.
        images: Data spec of the training images: a directory of class folders, `tfds:<name>`, ...
        workdir: Directory of the run.
        method: Name of the method.
        preset: Name of a flagfile of the package, or the path of one of your own, whose values
            count where none is given here.
        values: Knobs: a group as a dict (`training={"steps": 600}`), or `seed=1`. Dotted names are
            taken as well: `**{"training.steps": 600}`.

    Returns:
        The run.

    Raises:
        InputError: a knob that does not exist, a value out of its range, or images or a source that
            cannot be had.
    """
    if not workdir:
        raise InputError("expected workdir=<directory of the run>, got none")
    given = {"source": source, "data.train": images, _METHOD: method}
    given = {name: value for name, value in given.items() if value is not None}
    config = make_config(preset, {**knobs.flattened(values), **given})
    run = Run(workdir)
    run._train(config)
    return run


def make_config(preset: str | None, values: dict[str, Any]) -> Config:
    """The validated config of a preset with other values.

    Args:
        preset: Name of a flagfile of the package, path of a flagfile, or None.
        values: Knobs by their dotted names.

    Raises:
        InputError: as `transfer`.
    """
    texts = knobs.of_flags(flagfiles.expand([_flag_of(preset)])) if preset else {}
    name = values.get(_METHOD, texts.get(_METHOD, registry.DEFAULT))
    kinds = _kinds(registry.config_type(name))
    unknown = [knob for knob in (*texts, *values) if knob not in kinds]
    if unknown:
        raise InputError(f"expected knobs of a run of {name}, got {unknown[0]!r}")
    parsed = {knob: knobs.parse(text, kinds[knob], knob) for knob, text in texts.items()}
    config = registry.config_from_dict(knobs.nested({**parsed, **values, _METHOD: name}))
    registry.validate(config)
    return config


def _flag_of(preset: str) -> str:
    return f"--flagfile={preset}" if Path(preset).is_file() else f"--preset={preset}"


def _kinds(config_type: type, prefix: str = "") -> dict[str, Any]:
    """Types of all knobs by their dotted names."""
    kinds = {}
    for name, kind in get_type_hints(config_type).items():
        group = hasattr(kind, "__dataclass_fields__")
        kinds |= _kinds(kind, f"{prefix}{name}.") if group else {prefix + name: kind}
    return kinds


class Run:
    """A run of `transfer` or `cgt-train`.

    Args:
        workdir: Its directory.

    Attributes:
        path: Its directory.
    """

    def __init__(self, workdir: str | Path):
        self.path = Path(workdir)

    def __repr__(self) -> str:
        return f"cgt_tf.Run({str(self.path)!r})"

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that it has learnt, in label order."""
        return self._directory.class_names()

    @property
    def history(self) -> list[dict]:
        """Losses and scores with their steps, as in stats.jsonl."""
        return self._directory.read_stats()

    def sample(
        self,
        classes: Sequence[str] | None = None,
        count: int = 8,
        *,
        seed: int = 0,
        truncation: float = 1.0,
        checkpoint: str = "best",
    ) -> np.ndarray:
        """Samples of some classes, by default of all new ones.

        Args:
            classes: Names of classes, old ones too where the run keeps them.
            count: Samples of each.
            seed: Seed of the first sample of each class; the others follow.
            truncation: In (0, 1]; less is safer and less varied.
            checkpoint: `best`, `last` or a step.

        Returns:
            Images uint8 [K, count, R, R, 3].

        Raises:
            InputError: a class that the model does not have, no samples, or no checkpoint.
        """
        from cgt_tf.drawing.sampler import labels_of

        sampler, names, seeds = self._sampler(classes, count, seed, checkpoint)
        labels = np.repeat(labels_of(sampler, names), count)
        images = sampler.sample(labels, np.tile(seeds, len(names)), truncation)
        return images.reshape(len(names), count, *images.shape[1:])

    def grid(
        self,
        classes: Sequence[str] | None = None,
        count: int = 8,
        *,
        seed: int = 0,
        truncation: float = 1.0,
        scale: int = 2,
        checkpoint: str = "best",
    ) -> Image.Image:
        """The same as a picture with a row for each class; `scale` enlarges pixels."""
        from cgt_tf.drawing.rows import sample_grid

        sampler, names, seeds = self._sampler(classes, count, seed, checkpoint)
        return sample_grid(sampler, names, seeds, truncation, scale)

    def evaluate(self, **request: Any) -> Scores:
        """Scores the new classes, as `cgt-evaluate --workdir` does, and writes eval.json.

        Args:
            request: Fields of `scoring.request.Request`, such as `metrics=("fid", "kid")`,
                `protocol="fid5k_heldout"` or `checkpoint="last"`.

        Raises:
            InputError: what does not fit together, or is not there.
        """
        from cgt_tf.scoring.request import Request
        from cgt_tf.scoring.score import score
        from cgt_tf.scoring.writing import write

        scores, run = score(Request.of(workdir=str(self.path), **request))
        write(scores, None, run)
        return scores

    def export(self, output: str | Path, **options: Any) -> Path:
        """Writes old and new classes as one SavedModel, or `form="native"`; returns where.

        Args:
            output: Base directory of the served model.
            options: See `scoring.exports.export_run`.
        """
        from cgt_tf.scoring.exports import export_run

        return export_run(str(self.path), str(output), **options).path

    @property
    def _directory(self):
        from cgt_tf.runs.run_dir import RunDir

        return RunDir(self.path)

    def _sampler(self, classes, count: int, seed: int, checkpoint: str):
        from cgt_tf.export.sampler import open_sampler

        if count < 1:
            raise InputError(f"expected a count of at least 1, got {count}")
        self._directory.record()  # An InputError where there is no run.
        sampler = open_sampler(str(self.path), checkpoint)
        names = list(sampler.new_classes if classes is None else classes)
        return sampler, names, np.arange(seed, seed + count, dtype=np.int64)

    def _train(self, config: Config) -> None:
        from cgt_tf.scoring.of_runs import training_scores
        from cgt_tf.training.session import Session
        from cgt_tf.training.stopping import StoppedError

        self._directory.check_place()
        session = Session.create(config)
        try:
            session.train(str(self.path), training_scores(session, print))
        except StoppedError as error:
            raise KeyboardInterrupt(str(error)) from error
