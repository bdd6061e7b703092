"""Metrics of a run's scores, computed at once or beside the steps that follow."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from cgt_tf.training.hooks import StepLog
from cgt_tf.training.state import TrainState

Measure = Callable[[], dict[str, float]]


class Measuring:
    """Computes the metrics of one score at a time, and hands them to the log and the state.

    Both are changed by `write` and `finish` alone, never by the thread, so that what a run decides
    by its scores does not depend on how long they take.

    Args:
        log: Writes the scores.
        state: Notes the best score.
        beside: Whether a thread computes them while training goes on.
    """

    def __init__(self, log: StepLog, state: TrainState, beside: bool):
        self._log, self._state = log, state
        self._thread = ThreadPoolExecutor(1, "metrics") if beside else None
        self._step, self._gap = 0, {}
        self._scores: Future | None = None
        self._written = False

    def begin(self, step: int, measure: Measure, at_once: bool) -> None:
        """Takes the score of a step on, after `finish`.

        Args:
            step: The step.
            measure: Computes the metrics, and needs no network.
            at_once: No steps follow that it could be computed beside.
        """
        self._step, self._gap, self._written = step, self._log.take_gap(), False
        if self._thread is None or at_once:
            self._scores = Future()
            self._scores.set_result(measure())
            self.finish()
        else:
            self._scores = self._thread.submit(measure)

    def write(self) -> None:
        """Writes a score that has become ready since."""
        if self._scores is not None and self._scores.done() and not self._written:
            self._log.scores(self._step, self._scores.result(), self._gap)
            self._written = True

    def finish(self) -> None:
        """Waits for the score that was taken on last, if any, writes it and notes it."""
        if self._scores is not None:
            scores = self._scores.result()
            self.write()
            self._state.note_scores(scores)
            self._scores = None
