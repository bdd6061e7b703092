"""What happens around the steps of a run: logs, sample grids, checkpoints, scores."""

import contextlib
import math
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from cgt_tf.errors import InputError
from cgt_tf.formats.native import save_model
from cgt_tf.networks.gan import Gan
from cgt_tf.networks.weights import variable_name
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.training.alarms import VARIANCE_RATIO, LogitGap, collapse_warnings
from cgt_tf.training.board import Board
from cgt_tf.training.state import PhaseOptimizer, TrainState
from cgt_tf.training.story import Story


class DivergedError(RuntimeError):
    """A loss, a logit or a weight became infinite or not a number."""


def check_finite(scalars: dict[str, float], where: str) -> None:
    """`DivergedError` for the first scalar that is infinite or not a number."""
    for name, value in scalars.items():
        if not math.isfinite(value):
            raise DivergedError(f"{name} is {value} at {where}")


class WeightCheck:
    """Called with a step, raises `DivergedError` that names a weight which is not finite, if any.

    Args:
        state: State of the run; its EMA is looked at, too.
    """

    def __init__(self, state: TrainState):
        self._weights = {
            f"{network} {variable_name(v)}": v
            for network, layer in state.networks.named.items()
            for v in layer.variables
            if "float" in v.dtype
        }
        if state.ema:
            for network, group in state.ema.shadow.items():
                self._weights |= {f"EMA of {network} {k}": v for k, v in group.items()}
        self._finite = tf.function(self._all_finite, autograph=False)

    def _all_finite(self):
        weights = map(tf.convert_to_tensor, self._weights.values())
        return tf.stack([tf.reduce_all(tf.math.is_finite(value)) for value in weights])

    def __call__(self, step: int) -> None:
        found = self._finite().numpy()
        for name, finite in zip(self._weights, found, strict=True):
            if not finite:
                raise DivergedError(f"{name} is not finite at step {step}")


class StepLog:
    """Collects the scalars of each step and writes them out in intervals.

    Fetching values waits for the device, so they are kept as tensors until an interval is full;
    each step is then checked on its own, so that the first non-finite one is the one that is named.

    Args:
        run: Opened, with the statistics of the steps before this one alone.
        board: The run's.
        story: Told of scores and warnings.
        collapse_share: Least variance ratio without a warning, see `collapse_warnings`.

    Attributes:
        seconds_per_step: Of the last interval; None before a stage's first.
    """

    def __init__(self, run: RunDir, board: Board, story: Story, collapse_share: float = 0.0):
        self._run, self._board, self._story = run, board, story
        self._images_per_step, self._stage = 0, {}
        self._optimizers: Mapping[str, PhaseOptimizer] = {}
        self._reported: Collection[str] = ()
        self.seconds_per_step: float | None = None
        self._collapse_share = collapse_share
        records = run.read_stats()
        self._gap = LogitGap(records)
        self._scored = [record for record in records if VARIANCE_RATIO in record]
        self._pending: list[tuple[int, dict]] = []
        self._start = self._interval_start = time.monotonic()

    def enter(
        self,
        images_per_step: int,
        stage: str | None,
        optimizers: Mapping[str, PhaseOptimizer],
        reported: Collection[str],
    ) -> None:
        """Goes over to a stage.

        Args:
            images_per_step: Training images that its step takes.
            stage: Its name, which its records then have; None in runs of one stage.
            optimizers: Of its phases, by their names, whose learning rates are written.
            reported: Names of scalars that are no losses; may grow until the first is added.
        """
        self._images_per_step = images_per_step
        self._stage = {"stage": stage} if stage else {}
        self._optimizers, self._reported = optimizers, reported
        self.seconds_per_step = None
        self.restart_interval()

    def add(self, first: int, scalars: dict) -> None:
        """Takes in the scalars of steps from `first` on, float32 [steps] by name.

        Between two calls of `flush`, all are of one stage.
        """
        self._pending.append((first, scalars))

    def flush(self) -> dict | None:
        """Checks and writes what was collected; returns the record, None where there was nothing.

        Raises:
            DivergedError: naming the step and the tensor.
        """
        if not self._pending:
            return None
        parts = [{k: v.numpy() for k, v in scalars.items()} for _, scalars in self._pending]
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        first, count = self._pending[0][0], len(next(iter(columns.values())))
        for i in range(count):
            row = {name: float(values[i]) for name, values in columns.items()}
            check_finite(row, f"step {first + i}")
        now = time.monotonic()
        self.seconds_per_step = max(now - self._interval_start, 1e-9) / count
        rate = self._images_per_step / self.seconds_per_step
        last_step = first + count - 1
        means = {k: float(np.mean(v, dtype=np.float64)) for k, v in columns.items()}
        record = {
            "step": last_step,
            **self._stage,
            "seconds": round(now - self._start, 3),
            "images_per_second": round(rate, 2),
            **means,
        }
        self._run.append_stats(record)
        self._gap.add(record)
        self._show(means, rate, last_step)
        self._pending.clear()
        return record

    def take_gap(self) -> dict[str, float]:
        """D's gap since the last evaluation, see `LogitGap`."""
        return self._gap.take()

    def scores(self, step: int, scores: dict[str, float], gap: dict[str, float]) -> None:
        """Writes an evaluation's numbers and D's gap before it, and warns of a collapse."""
        scores = {**scores, **gap}
        warnings = collapse_warnings(scores, self._collapse_share, self._scored)
        self._scored.append(scores)
        self._story.scores(step, scores)
        for warning in warnings:
            self._story.say(f"warning: step {step}: {warning}")
        noted = {"warnings": warnings} if warnings else {}
        self._run.append_stats({"step": step, **scores, **noted})
        self._board.scalars("score", scores, step)

    def restart_interval(self) -> None:
        """Leaves samples, scores and checkpoints out of the next interval's images/s."""
        self._interval_start = time.monotonic()

    def _show(self, means: dict[str, float], rate: float, step: int) -> None:
        beside = {name: means[name] for name in means if name in self._reported}
        losses = {name: means[name] for name in means if name not in beside}
        self._board.scalars("loss", losses, step)
        self._board.scalars("monitor", beside, step)
        self._board.scalars("speed", {"images_per_second": rate}, step)
        for phase, optimizer in self._optimizers.items():
            # Of each network that a phase trains, and of each part of it with a rate of its own.
            rates = {f"{phase}/{part}": rate for part, rate in optimizer.rates().items()}
            self._board.scalars("learning_rate", rates, step)


class Checkpoints:
    """Writes, finds and thins out the checkpoints of a run: the last two, the best three.

    Args:
        run: Opened.
        state: State of the run.
        provenance: Provenance of the run, as JSON.
    """

    LAST, BEST = 2, 3

    def __init__(self, run: RunDir, state: TrainState, provenance: dict):
        self._run = run
        self._state = state
        self._provenance = provenance
        self._step, self._path = 0, Path()

    def restore_latest(self) -> int | None:
        """Restores the newest sound checkpoint and returns its step; None before the first."""
        step = self._run.newest_sound()
        if step is not None:
            self._state.restore(self._run.checkpoint_path(step))
            scores = sorted(self._run.scores().items())
            self._state.note_again([value for at, value in scores if at <= step])
        return step

    def begin(self, step: int, gan: Gan) -> None:
        """Writes what a checkpoint keeps for other commands, see `runs.snapshots`."""
        self._step = step
        self._path, snapshot = self._run.new_checkpoint(step)
        if self._run.chief:
            with self._removed_on_failure():
                save_model(gan, snapshot, {**self._provenance, "step": step})

    @contextlib.contextmanager
    def _removed_on_failure(self) -> Iterator[None]:
        """A full disk is not filled further by half a checkpoint."""
        try:
            yield
        except (OSError, InputError, tf.errors.OpError):
            shutil.rmtree(self._path.parent, ignore_errors=True)
            raise

    def complete(self) -> None:
        """Writes the training's state, which makes the checkpoint complete; all workers take part.

        The networks hold their own values again, not their EMA.
        """
        with self._removed_on_failure():
            self._state.checkpoint.write(str(self._path))
            self._run.complete_checkpoint(self._step)
        self._run.keep_checkpoints(self.LAST, self.BEST)
