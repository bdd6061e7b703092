"""Where the stages of a run lie in it."""

import dataclasses

from cgt_tf.methods.phases import Stage
from cgt_tf.training.step import batches_per_step, microbatches_per_step


@dataclasses.dataclass(frozen=True)
class Span:
    """Where a stage lies in a run.

    Attributes:
        stage: The stage.
        first, last: Steps of the run before it and at its end.
        first_microbatch, first_batch: Microbatches and batches of training images before it.
        several: Whether the run has other stages.
    """

    stage: Stage
    first: int
    last: int
    first_microbatch: int
    first_batch: int
    several: bool


def spans_of(stages: tuple[Stage, ...]) -> list[Span]:
    """The stages one after the other."""
    spans, step, microbatches, batches = [], 0, 0, 0
    for stage in stages:
        last = step + stage.steps
        spans.append(Span(stage, step, last, microbatches, batches, len(stages) > 1))
        step = last
        microbatches += stage.steps * microbatches_per_step(stage)
        batches += stage.steps * batches_per_step(stage)
    return spans
