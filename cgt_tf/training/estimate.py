"""What a training will take: time by a few real steps, memory by what is there and their peak."""

import dataclasses
import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator

import tensorflow as tf

from cgt_tf.config import to_dict
from cgt_tf.data.image_set import ImageSet
from cgt_tf.progress import duration
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.training.loop import TrainingRun
from cgt_tf.training.session import Session
from cgt_tf.training.spans import Span
from cgt_tf.training.state import TrainState

# Steps are timed until there are so many, or so many seconds have gone.
_MOST_STEPS, _LEAST_STEPS, _SECONDS = 12, 3, 5.0


@dataclasses.dataclass(frozen=True)
class StageTime:
    """What the steps of a stage take.

    Attributes:
        title: Name of the stage.
        steps: Its steps.
        first: Seconds until its first step is made, tracing included.
        each: Seconds of a later step, the mean.
        timed: Of how many.
    """

    title: str
    steps: int
    first: float
    each: float
    timed: int

    def __str__(self) -> str:
        total = duration(self.first + self.each * (self.steps - 1))
        return (
            f"{self.steps} steps of {self.each:.3g} s, {duration(self.first)} until the first: "
            f"{total} (from {self.timed} timed steps)"
        )


def dry_run(session: Session, with_config: bool = False) -> Iterator[str]:
    """Yields what is to be known before a training, part by part, the class map first.

    Args:
        session: Of a run that is not trained; of no use afterwards, see `estimate`.
        with_config: The resolved config as JSON at the end.
    """
    yield session.class_map()
    yield estimate(session)
    yield session.facts()
    if with_config:
        yield json.dumps(to_dict(session.config), indent=2, ensure_ascii=False)


def estimate(session: Session) -> str:
    """Makes a few steps of each stage, whose results are dropped, and says what all would take.

    Nothing is written; the networks are no longer those of a run's start afterwards.

    Args:
        session: Of a run that is not trained.

    Returns:
        Lines.
    """
    lines = ["estimate:"]
    reason = _not_measured(session)
    if reason:
        lines += [f"  time: not measured, {reason}", f"  memory: {_held(session)}"]
        return "\n".join(lines)
    with tempfile.TemporaryDirectory() as directory:
        start = time.monotonic()
        training = session.training(RunDir(directory))
        prepared = time.monotonic() - start
        times = [_timed(training, span) for span in training.spans if span.stage.steps]
    for found in times:
        stage = f" of stage {found.title}" if len(times) > 1 else ""
        lines.append(f"  time{stage}: {found}")
    lines.append(f"  time on top: {_on_top(session, prepared)}")
    lines.append(f"  memory: {_held(session, training.state)}")
    lines.append(f"  memory at the peak of these steps, with activations and gradients: {_peaks()}")
    return "\n".join(lines)


def _not_measured(session: Session) -> str:
    """Why no steps are timed; "" where they are."""
    if isinstance(session.strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return "since the other workers do not take part"
    slow = session.method.slow_preparation
    return f"since the method first {slow}, which takes longer" if slow else ""


def _timed(training: TrainingRun, span: Span) -> StageTime:
    """The time of a stage's steps; a phase that is not run in every step comes in its share."""
    state, stage = training.state, span.stage
    state.step.assign(span.first)
    if stage.begin:
        with training.strategy.scope():
            stage.begin()
    start = time.monotonic()
    step, batches = training.make_step(span), training.batches(span, span.first)
    _wait(step(batches))
    first = time.monotonic() - start
    unit = max(phase.every for phase in stage.phases)
    start, timed, seconds = time.monotonic(), 0, 0.0
    while timed < _LEAST_STEPS or (timed < _MOST_STEPS and seconds < _SECONDS):
        _wait(step(batches, unit))
        timed += unit
        seconds = time.monotonic() - start
    return StageTime(stage.name, stage.steps, first, seconds / timed, timed)


def _wait(scalars: dict) -> None:
    """Until the device has made the steps."""
    next(iter(scalars.values())).numpy()


def _on_top(session: Session, prepared: float) -> str:
    training, evaluation = session.config.training, session.config.evaluation
    counts = {
        "scores": evaluation.every,
        "samples": training.sample_every,
        "checkpoints": training.checkpoint_every,
    }
    parts = [f"{name} every {every} steps" for name, every in counts.items() if every]
    parts += [f"{duration(prepared)} of preparation"] if prepared >= 1 else []
    return ", ".join(parts) or "a checkpoint at the end"


def _held(session: Session, state: TrainState | None = None) -> str:
    """What stays in memory during a run, counted."""
    networks = session.networks
    layers = [*networks.named.values(), *networks.teachers.values()]
    layers += [gan.generator for gan in session.sources]
    layers += [gan.discriminator for gan in session.sources if gan.discriminator is not None]
    variables = [v for layer in layers for v in getattr(layer, "variables", ())]
    parts = [f"{_size(variables)} of parameters and statistics, sources and teachers included"]
    if state is not None:
        moments = [
            value
            for optimizer in state.optimizers.values()
            for group in optimizer.checkpoint_parts().values()
            for value in group.values()
        ]
        parts.append(f"{_size(moments)} of optimiser state")
    if state is not None and state.ema:
        parts.append(
            f"{_size(v for group in state.ema.shadow.values() for v in group.values())} of EMA"
        )
    sets = [images for images in (session.train_images, session.heldout) if images]
    parts.append(f"{_bytes(sum(map(_in_memory, sets)))} of images")
    return ", ".join(parts)


def _in_memory(images: ImageSet) -> int:
    """Bytes; of images that are read from disk none."""
    return getattr(images.images, "nbytes", 0)


def _size(variables: Iterable) -> str:
    unique = {id(v): v for v in variables}.values()
    return _bytes(sum(tf.as_dtype(v.dtype).size * v.shape.num_elements() for v in unique))


def _peaks() -> str:
    """The most memory so far, of each GPU and of the process."""
    parts = []
    for gpu in tf.config.list_logical_devices("GPU"):
        name = gpu.name.rpartition("device:")[2]
        parts.append(f"{_bytes(tf.config.experimental.get_memory_info(name)['peak'])} on {name}")
    # macOS counts bytes, Linux blocks of 1024.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return ", ".join([*parts, f"{_bytes(peak)} of this process, TensorFlow itself included"])


def _bytes(count: float) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
