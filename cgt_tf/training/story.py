"""What a run tells while it goes: a line a score, warnings, and a summary at the end.

Lines go to stderr, above the progress bar, and with their time into the run's log.txt.
"""

import time
from collections.abc import Callable

from cgt_tf import progress
from cgt_tf.metrics.ranking import is_better, ranked
from cgt_tf.runs.run_dir import RunDir

# Shown beside the criterion, where they were measured.
_BESIDE = ("fid", "accuracy", "kid", "recall")


class Story:
    """Tells what happens in a run.

    Args:
        run: Opened run directory; workers that are not its chief tell nothing.
        last_step: Last step of the run.
        clock: Seconds that only rise.
    """

    def __init__(self, run: RunDir, last_step: int, clock: Callable[[], float] = time.monotonic):
        self._run, self._last_step, self._clock = run, last_step, clock
        self._start = clock()
        self._first_step: int | None = None
        self._criterion, self._scores = run.criterion, run.scores()

    def say(self, text: str) -> None:
        """To stderr and log.txt."""
        if self._run.chief:
            progress.say(text)
            self.note(text)

    def note(self, text: str) -> None:
        """To log.txt alone."""
        self._run.append_log(text)

    def begin(self, step: int) -> None:
        """The steps after this one follow, from which the time that is left is guessed."""
        self._first_step, self._start = step, self._clock()

    def scores(self, step: int, scores: dict[str, float]) -> None:
        """A line on the scores at a step, with the best so far and the time that is left."""
        parts = [f"step {step}/{self._last_step}"]
        name = self._criterion
        if name in scores:
            parts.append(f"{name} {scores[name]:.4g} ({self._compared(scores[name])})")
            self._scores[step] = scores[name]
        beside = [other for other in _BESIDE if other in scores and other != name]
        parts += [f"{other} {scores[other]:.3g}" for other in beside]
        left = self._seconds_left(step)
        parts += [f"{progress.duration(left)} left"] if left else []
        self.say("  ".join(parts))

    def _compared(self, value: float) -> str:
        if not self._scores:
            return "the first"
        before = self._best
        best = f"{self._scores[before]:.4g} at step {before}"
        if is_better(self._criterion, value, self._scores[before]):
            return f"best so far, was {best}"
        return f"best {best}"

    @property
    def _best(self) -> int:
        """Step of the best score."""
        return ranked(self._criterion, self._scores)[0]

    def _seconds_left(self, step: int) -> float:
        done = step - (self._first_step or 0)
        if self._first_step is None or done <= 0:
            return 0.0
        return (self._clock() - self._start) / done * (self._last_step - step)

    def end(self) -> None:
        """What came out, where it is, and what can be done next."""
        if not self._run.chief:
            return
        lines = [f"done in {progress.duration(self._clock() - self._start)}"]
        if self._scores:
            shown = {"first": min(self._scores), "best": self._best, "last": max(self._scores)}
            steps = ", ".join(
                f"{which} {self._scores[step]:.4g} at step {step}" for which, step in shown.items()
            )
            lines.append(f"{self._criterion}: {steps}")
        else:
            lines.append("no scores: the best checkpoint is the last one")
        saved = self._run.saved_steps()
        if saved:
            step = self._run.resolve_checkpoint("best" if self._scores else "last")
            lines.append(f"best checkpoint: step {step} of {', '.join(map(str, saved))}")
        path = self._run.path
        lines += [
            f"samples: {self._run.samples}",
            f"next: cgt-evaluate --workdir={path}",
            f"      cgt-sample --model={path} --output={path}/grid.png",
            f"      cgt-report --workdir={path}",
            f"      cgt-export --workdir={path} --output={path}/served",
        ]
        self.say("\n".join(lines))
