"""The training loop: data in, steps, and the hooks around them."""

import dataclasses
import sys
from collections.abc import Callable

import tensorflow as tf
from tqdm import tqdm

from cgt_tf.config import Config
from cgt_tf.data.image_set import ImageSet
from cgt_tf.data.pipeline import distributed_batches
from cgt_tf.methods.base import TransferMethod
from cgt_tf.models.gan import Gan
from cgt_tf.training.hooks import Checkpoints, SampleGrid, StepLog, check_finite
from cgt_tf.training.run_dir import RunDir
from cgt_tf.training.state import TrainState
from cgt_tf.training.step import TrainStep
from cgt_tf.training.supervised_step import SupervisedStep

# Scores of the present generator: called with `sample(z, labels)` -> images and the step.
Evaluate = Callable[[Callable, int], dict[str, float]]


@dataclasses.dataclass
class TrainingRun:
    """One stage of a method, ready to go.

    Args:
        config: validated.
        run: opened run directory.
        strategy: the `tf.distribute` strategy; `gan` was built in its scope.
        method: gives the stages.
        gan: the networks to train.
        data: the few-shot training images.
        evaluate: called on the schedule of `config.evaluation`, or None.
    """

    config: Config
    run: RunDir
    strategy: tf.distribute.Strategy
    method: TransferMethod
    gan: Gan
    data: ImageSet
    evaluate: Evaluate | None = None

    def __post_init__(self):
        with self.strategy.scope():
            self.method.prepare(self.gan, self.data)
            (self.stage,) = self.method.stages()
            self.state = TrainState(self.gan, self.stage, self.config)
        self._sample = tf.function(self._sample_images, autograph=False)

    def _sample_images(self, z, labels):
        return self.gan.generator(z, labels)[0]

    def sample(self, z, labels):
        """Images of the generator as it stands, float32 [B, R, R, 3] in [-1, 1]."""
        return self._sample(tf.constant(z), tf.constant(labels))

    def make_step(self) -> TrainStep | SupervisedStep:
        """The compiled step; its first call traces it."""
        kind = SupervisedStep if self.stage.reconstruction else TrainStep
        return kind(self.strategy, self.state, self.stage, self.config)

    def train(self) -> TrainState:
        """Runs from the newest checkpoint to the stage's last step."""
        training = self.config.training
        checkpoints = Checkpoints(self.run, self.state)
        restored = checkpoints.restore_latest()
        start = restored or 0
        self.run.truncate_stats(-1 if restored is None else restored)
        writer = tf.summary.create_file_writer(str(self.run.events))
        passes = training.d_steps * training.accumulation
        images = training.batch_size * passes
        log = StepLog(self.run, writer, images, training.collapse_share)
        spec = self.gan.spec
        grid = SampleGrid(self.run, writer, spec.num_classes, spec.dim_z, self.config.seed)
        batches = self.batches(start, passes)
        step_function = self.make_step()
        last = self.stage.steps
        if restored is None:
            self._warm_up(step_function)
            self._around(0, last, log, grid, checkpoints)
        stopped = self.state.stopped_early
        with _progress_bar(start, last) as bar:
            for step in range(start + 1, last + 1):
                if stopped:
                    break
                log.add(step, step_function([next(batches) for _ in range(passes)]))
                bar.update()
                if step % training.log_every == 0 or self._due_any(step, last):
                    record = log.flush()
                    bar.set_postfix(_shown(record))
                if self._due_any(step, last):
                    self._around(step, last, log, grid, checkpoints)
                    log.restart_interval()
                    stopped = self.state.stopped_early
                elif step % training.log_every == 0:
                    log.restart_interval()
        writer.close()
        if stopped:
            print(self.state.early_stop.message(float(self.state.best_fid)), file=sys.stderr)
        return self.state

    def batches(self, start: int, passes: int):
        """Iterator over the batches of the steps after `start`, `passes` for each step."""
        return iter(
            distributed_batches(
                self.strategy,
                self.data,
                self.config.training.batch_size,
                self.config.seed,
                start,
                batches_per_step=passes,
                flip=self.config.data.flip,
                indices=self.stage.reconstruction is not None,
            )
        )

    def _warm_up(self, step_function: TrainStep) -> None:
        """Trains the discriminator alone, on batches of its own; its part of step 0's checkpoint.

        A run that is stopped meanwhile starts it over.
        """
        steps = self.config.discriminator.warmup_steps
        if not steps:
            return
        training = self.config.training
        batches = self.batches(0, training.accumulation)
        for number in tqdm(range(1, steps + 1), unit="step", desc="warm-up of D", file=sys.stderr):
            passes = [next(batches) for _ in range(training.accumulation)]
            scalars = step_function.warm_up(passes, number)
            if number % training.log_every == 0 or number == steps:
                values = {name: float(value) for name, value in scalars.items()}
                check_finite(values, f"warm-up step {number}")
                self.run.append_stats({"step": 0, "warmup_step": number, **values})

    def _due_any(self, step: int, last: int) -> bool:
        training, evaluation = self.config.training, self.config.evaluation
        intervals = (training.sample_every, training.checkpoint_every, evaluation.every)
        return step == last or any(_due(step, every, last) for every in intervals)

    def _around(self, step, last, log, grid, checkpoints):
        """Samples, scores and a checkpoint, as far as they are due at this step."""
        training, evaluation = self.config.training, self.config.evaluation
        scored = self.evaluate is not None and _due(step, evaluation.every, last)
        if training.ramp_generator and step < training.ramp_end:
            # Scores see the classes in full, which nothing was trained with so far.
            scored = False
        with self.state.averaged():
            if _due(step, training.sample_every, last):
                grid.save(self.sample, step)
            scores = self.evaluate(self.sample, step) if scored else {}
        if scores:
            log.scores(step, scores)
            self.state.note_scores(scores)
        if scored or step == last or _due(step, training.checkpoint_every, last):
            checkpoints.save(step)


def _due(step: int, every: int, last: int) -> bool:
    return every > 0 and (step % every == 0 or step == last)


def _shown(record: dict) -> dict:
    names = {"discriminator_loss": "D", "generator_loss": "G", "loss": "loss"}
    names["images_per_second"] = "img/s"
    return {short: f"{record[name]:.3g}" for name, short in names.items() if name in record}


def _progress_bar(start: int, last: int) -> tqdm:
    return tqdm(
        total=last, initial=start, unit="step", desc="train", dynamic_ncols=True, file=sys.stderr
    )
