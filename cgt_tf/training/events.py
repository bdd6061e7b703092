"""What a run does between its steps: samples, scores, checkpoints."""

import dataclasses
from typing import TYPE_CHECKING

from cgt_tf.methods.phases import Stage
from cgt_tf.training.hooks import Checkpoints, WeightCheck
from cgt_tf.training.measuring import Measuring
from cgt_tf.training.sample_grid import SampleGrid

if TYPE_CHECKING:
    from cgt_tf.training.loop import TrainingRun


@dataclasses.dataclass
class Events:
    """Samples, scores and a checkpoint, as far as they are due at a step.

    Called with a step and its stage; `save`: a checkpoint is due whatever the config says.

    Attributes:
        training: The run.
        grid: Draws the sample grid.
        checkpoints: Writes checkpoints.
        measuring: Computes the metrics of scores.
        check_weights: Looks for weights that are not finite, before anything is written.
    """

    training: "TrainingRun"
    grid: SampleGrid
    checkpoints: Checkpoints
    measuring: Measuring
    check_weights: WeightCheck

    @property
    def _last(self) -> int:
        return self.training.spans[-1].last

    def _due(self, step: int, every: int) -> bool:
        borders = {span.last for span in self.training.spans}
        return every > 0 and (step % every == 0 or step in borders)

    def due_any(self, step: int) -> bool:
        """Whether anything is due at a step."""
        training, evaluation = self.training.config.training, self.training.config.evaluation
        intervals = (training.sample_every, training.checkpoint_every, evaluation.every)
        return step == self._last or any(self._due(step, every) for every in intervals)

    def __call__(self, step: int, stage: Stage, save: bool = False) -> None:
        run, config = self.training, self.training.config
        sampled = self._due(step, config.training.sample_every) and self._samples(stage)
        scored = self._due(step, config.evaluation.every) and self._scores(step, stage)
        saved = save or scored or step == self._last
        saved = saved or self._due(step, config.training.checkpoint_every)
        if not (sampled or scored or saved):
            return
        self.check_weights(step)
        if scored or saved:
            # Which checkpoints are kept, and whether the run goes on, depends on it.
            self.measuring.finish()
        with run.state.holding_ema():
            run.extended.refresh()
            if sampled:
                self.grid.save(run.sample, step)
            if scored:
                last = save or step == self._last or run.state.stopped_early
                self.measuring.begin(step, run.evaluate(run.extended), at_once=last)
            if saved:
                gan = run.method.as_source(run.networks, run.extended)
                self.checkpoints.begin(step, gan)
        if saved:
            self.checkpoints.complete()

    def _samples(self, stage: Stage) -> bool:
        """Whether a stage changes what samples look like."""
        with_ema = set(self.training.method.ema_networks)
        trained = {part.network for phase in stage.phases for part in phase.trained}
        return bool(with_ema & trained)

    def _scores(self, step: int, stage: Stage) -> bool:
        training = self.training.config.training
        if self.training.evaluate is None or not self._samples(stage):
            return False
        # Scores see the classes in full, which nothing was trained with before the ramp's end.
        return not training.ramp_generator or step >= training.ramp_end
