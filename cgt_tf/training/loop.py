"""The training loop: data in, the stages' steps, and the hooks around them."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

from cgt_tf.config import Config, to_dict
from cgt_tf.data.image_set import ImageSet
from cgt_tf.data.pipeline import distributed_batches
from cgt_tf.errors import InputError
from cgt_tf.methods.base import TransferMethod
from cgt_tf.methods.run_networks import Networks
from cgt_tf.networks.extended import ExtendedGenerator
from cgt_tf.progress import Progress
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.training.board import Board
from cgt_tf.training.events import Events
from cgt_tf.training.hooks import Checkpoints, DivergedError, StepLog, WeightCheck
from cgt_tf.training.measuring import Measure, Measuring
from cgt_tf.training.sample_grid import SampleGrid
from cgt_tf.training.spans import Span, spans_of
from cgt_tf.training.state import TrainState
from cgt_tf.training.step import StageStep, batches_per_step
from cgt_tf.training.stopping import StoppedError, StopSignals
from cgt_tf.training.story import Story

# How often a diverged run goes on with half the learning rates.
_MOST_REDUCTIONS = 3
# A signal, and the progress bar, wait for the end of a call.
_SECONDS_PER_CALL = 1.0
# Draws samples of the extended generator as it is, and returns what computes their scores.
Evaluate = Callable[[ExtendedGenerator], Measure]


def steps_in_time(seconds_per_step: float | None, most: int) -> int:
    """Steps that take about a second, from 1 to `most`; 1 before a step was timed."""
    if seconds_per_step is None:
        return 1
    return max(1, min(most, int(_SECONDS_PER_CALL / seconds_per_step)))


@dataclasses.dataclass
class TrainingRun:
    """All stages of a method, ready to go.

    Args:
        config: Validated.
        run: Opened run directory.
        strategy: The `tf.distribute` strategy; the networks were built in its scope.
        method: Gives the stages.
        networks: To train.
        data: The few-shot training images.
        evaluate: Called on the schedule of `config.evaluation`, or None.
        sources: Provenance of each source GAN, which the checkpoints keep.

    Attributes:
        spans: The stages.
        state: State of the run.
        extended: What samples are drawn from, as of the last sample, score or checkpoint.
    """

    config: Config
    run: RunDir
    strategy: tf.distribute.Strategy
    method: TransferMethod
    networks: Networks
    data: ImageSet
    evaluate: Evaluate | None = None
    sources: Sequence[dict] = ()

    def __post_init__(self):
        with self.strategy.scope():
            self.method.prepare(self.networks, self.data)
            stages = self.method.stages(self.networks)
            self.state = TrainState(self.networks, stages, self.config, self.method.ema_networks)
            self.extended = self.method.extended(self.networks)
        self.spans = spans_of(stages)
        if self.config.training.ramp_end > self.spans[-1].last:
            raise InputError(
                "expected --config.training.ramp_end of at most the run's "
                f"{self.spans[-1].last} steps, got {self.config.training.ramp_end}"
            )
        self._sample = tf.function(self._sample_images, autograph=False)

    def _sample_images(self, z, labels):
        # The new classes come last.
        old = len(self.extended.class_names) - len(self.networks.class_names)
        return self.extended(z, labels + old)

    def sample(self, z, labels):
        """Images float32 [B, R, R, 3] in [-1, 1] of the new classes, as last folded."""
        return self._sample(tf.constant(z), tf.constant(labels))

    def make_step(self, span: Span | None = None) -> StageStep:
        """The compiled step of a stage, by default the first; its first call traces it."""
        span = span or self.spans[0]
        with self.strategy.scope():
            self.state.hold_frozen_kernels()
        return StageStep(
            self.strategy, self.state, span.stage, self.config, span.first, span.first_microbatch
        )

    def train(self, signals: StopSignals | None = None) -> TrainState:
        """Runs from the newest sound checkpoint to the last stage's last step.

        Args:
            signals: Asked after each call of the step; None: nothing stops the run.

        Raises:
            StoppedError: a signal was received; the step is saved.
            DivergedError: a loss or a weight is not finite; the checkpoints before it are kept.
        """
        board = Board(self.run.events)
        provenance = {
            "run": self.run.path.name,
            "ema_decay": self.config.training.ema_decay,
            "config": to_dict(self.config),
            "sources": list(self.sources),
        }
        checkpoints = Checkpoints(self.run, self.state, provenance)
        step = checkpoints.restore_latest()
        for left in reversed(range(_MOST_REDUCTIONS + 1)):
            try:
                self._go_on(step, board, checkpoints, signals or StopSignals())
                break
            except DivergedError as error:
                step = self._roll_back(error, checkpoints, left)
        board.close()
        if self.state.stopped_early:
            self.story.say(self.state.early_stop.message(self.run.criterion, self.state.best_score))
        self.story.end()
        return self.state

    def _go_on(self, done: int | None, board: Board, checkpoints: Checkpoints, signals) -> None:
        """All steps after those that are done; None: from the start."""
        self.run.truncate_stats(-1 if done is None else done)
        self.story = Story(self.run, self.spans[-1].last)
        board.config(self.config, self.run.path.name, done or 0)
        log = StepLog(self.run, board, self.story, self.config.training.collapse_share)
        names, dim_z = self.networks.class_names, self.networks.spec.dim_z
        grid = SampleGrid(self.run, board, self.data, names, dim_z, self.config.seed)
        measuring = Measuring(log, self.state, self._beside)
        events = Events(self, grid, checkpoints, measuring, WeightCheck(self.state))
        if done is None:
            events(0, self.spans[-1].stage)
        self.story.begin(done or 0)
        try:
            for span in self.spans:
                if (done or 0) < span.last and not self.state.stopped_early:
                    self._run_stage(span, max(done or 0, span.first), log, events, signals)
        except DivergedError:
            measuring.finish()
            raise

    @property
    def _beside(self) -> bool:
        """Whether metrics are computed while training goes on."""
        how = self.config.evaluation.background
        if how == "auto":
            return any("GPU" in device for device in self.strategy.extended.worker_devices)
        return how == "on"

    def _roll_back(self, error: DivergedError, checkpoints: Checkpoints, left: int) -> int:
        """Restores the last checkpoint with half the learning rates; returns its step."""
        scale = float(self.state.rate_scale) / 2
        saved = self.run.newest_sound()
        if saved is None or not left or self.config.training.on_divergence == "stop":
            kept = "there is none before" if saved is None else f"step {saved} is the last sound"
            raise DivergedError(f"{error}; of its checkpoints, {kept}") from error
        step = checkpoints.restore_latest()
        self.state.rate_scale.assign(scale)
        self.run.truncate_stats(step)
        self.run.append_stats({"step": step, "diverged": str(error), "rate_scale": scale})
        self.story.say(
            f"warning: {error}: going on from step {step} with learning rates times {scale:g}"
        )
        return step

    def _run_stage(
        self, span: Span, start: int, log: StepLog, events: Events, signals: StopSignals
    ) -> None:
        """Steps `start` + 1 to the last of a stage."""
        stage, training = span.stage, self.config.training
        if start == span.first and stage.begin:
            with self.strategy.scope():
                stage.begin()
                if self.state.ema:
                    self.state.ema.start_over()
        count = batches_per_step(stage)
        batches = self.batches(span, start)
        step_function = self.make_step(span)
        optimizers = {phase.name: self.state.optimizers[phase.name] for phase in stage.phases}
        name = stage.name if span.several else None
        log.enter(training.batch_size * count, name, optimizers, step_function.reported)
        title = stage.name if span.several else "train"
        step = start
        with Progress(title, stage.steps, "step", done=start - span.first) as bar:
            while step < span.last:
                steps = self._steps_of_call(step, span, log, events)
                log.add(step + 1, step_function(batches, steps))
                step += steps
                bar.add(steps)
                due, logged = events.due_any(step), self._logged(step, span, events)
                signum = signals.agreed(self.strategy, logged)
                if logged or signum:
                    bar.show(_shown(log.flush()))
                    events.measuring.write()
                    if due or signum:
                        events(step, stage, save=bool(signum))
                    log.restart_interval()
                if signum and step < self.spans[-1].last:
                    raise StoppedError(signum, step)
                if due and self.state.stopped_early:
                    break

    def _logged(self, step: int, span: Span, events: Events) -> bool:
        """Whether the numbers up to a step are written: then, and with whatever else is due."""
        every = self.config.training.log_every
        return step % every == 0 or step == span.last or events.due_any(step)

    def _steps_of_call(self, step: int, span: Span, log: StepLog, events: Events) -> int:
        """Steps after `step` that are made before Python has something to do again."""
        most = self.config.training.steps_per_call
        # Several machines must make the same calls, however fast each is.
        if not isinstance(self.strategy, tf.distribute.MultiWorkerMirroredStrategy):
            most = steps_in_time(log.seconds_per_step, most)
        ends = (i for i in range(1, most) if self._logged(step + i, span, events))
        return next(ends, most)

    def batches(self, span: Span, start: int) -> Iterator:
        """The batches of the steps of a stage after step `start`, as its `StageStep` takes them."""
        count = batches_per_step(span.stage)
        return iter(
            distributed_batches(
                self.strategy,
                self.data,
                self.config.training.batch_size,
                self.config.seed,
                span.first_batch + (start - span.first) * count,
                flip=self.config.data.flip,
            )
        )


def _shown(record: dict) -> dict:
    names = {"discriminator_loss": "D", "generator_loss": "G", "loss": "loss"}
    names["images_per_second"] = "img/s"
    return {short: record[name] for name, short in names.items() if name in record}
