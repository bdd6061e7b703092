"""What is to be scored and how, as the flags of `cgt-evaluate` say it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from cgt_tf.config import EvaluationConfig
from cgt_tf.errors import InputError
from cgt_tf.metrics.registry import METRICS
from cgt_tf.scoring.protocols import Protocol, get_protocol

RUN, MODEL, IMAGES = ("workdir",), ("model",), ("real", "fake")
# Fields of a request that replace the config's, and those of a protocol that it may change.
_INSTEAD = ("metrics", "features", "force_features", "batch_size")
_CHANGES = ("num_samples", "labels", "truncation", "standing_batches")
_UNNAMED = "unnamed"  # A protocol without a name; all of its values are stored.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """The flags of `cgt-evaluate`; "", (), 0 and None stand for the default.

    Attributes:
        workdir, checkpoint: A run, and which of its checkpoints: `best`, `last` or a step.
        model: A SavedModel's directory.
        real, fake: Data specs or flat folders, the second of which is scored.
        data: Data spec of the reference images of a run or a SavedModel.
        training: Data spec of the training images, for a SavedModel or images.
        metrics, features, force_features, batch_size: Instead of the config's.
        protocol: Name of a protocol.
        changes: Values of a `Protocol` that differ from the named one's, by field.
        classes: Names of the classes to score, of a SavedModel or of folders.
        resolution: Side to bring the images of folders to, in pixels.
        seed: Seed of latents and draws; None: the run's, else 0.
        strategy: As `--config.training.strategy`.
        cache_dir: See `files.cache_root`.
        save_samples: Directory for the scored images.
        trust: Whether programs that a run's own files name may be loaded.
    """

    workdir: str = ""
    checkpoint: str = "best"
    model: str = ""
    real: str = ""
    fake: str = ""
    data: str = ""
    training: str = ""
    metrics: tuple[str, ...] = ()
    features: str = ""
    force_features: bool = False
    batch_size: int = 0
    protocol: str = ""
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)
    classes: tuple[str, ...] = ()
    resolution: int = 0
    seed: int | None = None
    strategy: str = "one_device"
    cache_dir: str = ""
    save_samples: str = ""
    trust: bool = False

    @classmethod
    def from_flags(cls, values: Mapping[str, Any]) -> "Request":
        """Takes the values of its own fields, and of `changes`, by the names of the flags.

        Raises:
            InputError: an unknown metric, or a `kind` that is none.
        """
        names = {field.name for field in dataclasses.fields(cls)} - {"changes"}
        return cls.of(**{name: values[name] for name in (*names, *_CHANGES)})

    @classmethod
    def of(cls, **values: Any) -> "Request":
        """A request of its own fields and values of a `Protocol`, None among these for no change.

        Raises:
            InputError: an unknown metric or name, or a `kind` that is none.
        """
        changes = {name: values.pop(name, None) for name in _CHANGES}
        unknown = sorted(set(values) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise InputError(f"expected fields of a request, got {unknown[0]!r}")
        values |= {name: tuple(values.get(name, ())) for name in ("metrics", "classes")}
        for metric in values["metrics"]:
            if metric not in METRICS:
                raise InputError(f"--metrics must be of {', '.join(METRICS)}, got {metric!r}")
        given = {name: value for name, value in changes.items() if value is not None}
        request = cls(**values, changes=given)
        _ = request.kind  # Tells at once where it is none.
        return request

    @property
    def kind(self) -> tuple[str, ...]:
        """RUN, MODEL or IMAGES.

        Raises:
            InputError: none of them, or several.
        """
        given = tuple(name for name in (*RUN, *MODEL, *IMAGES) if getattr(self, name))
        if given not in (RUN, MODEL, IMAGES):
            raise InputError(
                "expected --workdir=<run>, or --model=<SavedModel> and --data=<spec>, or "
                "--real=<spec> and --fake=<spec>, got "
                f"{' and '.join(f'--{name}' for name in given) or 'none'}"
            )
        return given

    def refuse(self, reason: str, *fields: str) -> None:
        """`InputError` if any of these fields, or of the changes, was given."""
        for field in fields:
            if getattr(self, field, None) or field in self.changes:
                raise InputError(f"expected no --{field}: {reason}")

    def require(self, what: str, *fields: str) -> None:
        """`InputError` if any of these fields is empty, which `what` needs."""
        for field in fields:
            if not getattr(self, field):
                raise InputError(f"expected --{field} with {what}, got none (see --help)")

    def changed(self, evaluation: EvaluationConfig) -> EvaluationConfig:
        """A config with what the request has instead."""
        given = {name: getattr(self, name) for name in _INSTEAD if getattr(self, name)}
        return dataclasses.replace(evaluation, **given)

    def protocol_of(self, given: int = 0) -> Protocol:
        """The protocol where there is no run; `given`: how many images there are to score."""
        if self.protocol not in ("", "run"):
            protocol = get_protocol(self.protocol, EvaluationConfig()).changed(**self.changes)
        else:
            counts = {"num_samples": given} if given else {}
            values = {"name": _UNNAMED, "base": _UNNAMED, **counts, **self.changes}
            protocol = dataclasses.replace(get_protocol("run", EvaluationConfig()), **values)
        if given and given < protocol.num_samples:
            raise InputError(
                f"expected at least {protocol.num_samples} images to score for {protocol.name}, "
                f"got {given}"
            )
        return protocol
