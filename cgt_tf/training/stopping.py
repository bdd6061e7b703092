"""SIGTERM and Ctrl-C: the step is finished and saved before the process ends."""

import os
import signal
from types import FrameType

import tensorflow as tf

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StoppedError(RuntimeError):
    """A run that was asked to stop, after its step was saved.

    Attributes:
        signum: The signal.
        step: Step that is saved.
    """

    def __init__(self, signum: int, step: int):
        super().__init__(f"stopped by {signal.Signals(signum).name} at step {step}, which is saved")
        self.signum, self.step = signum, step


class StopSignals:
    """Context that notes the first of these signals; the second has its usual effect at once.

    Only in a process' main thread, as Python has it.

    Attributes:
        received: The signal's number, 0 before it.
    """

    def __init__(self):
        self.received = 0
        self._before = {}

    def __enter__(self) -> "StopSignals":
        self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *exception) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        del frame
        if self.received:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
        self.received = signum

    def agreed(self, strategy: tf.distribute.Strategy, together: bool) -> int:
        """The signal that this process received, or another worker of the strategy; 0: none.

        Args:
            strategy: Strategy of the run.
            together: Whether all workers ask at this step; several machines only stop at one of
                these, so that all save the same step.
        """
        if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            return self.received
        if not together:
            return 0
        values = strategy.run(lambda: tf.constant(int(bool(self.received))))
        count = int(strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None))
        return (self.received or signal.SIGTERM) if count else 0
