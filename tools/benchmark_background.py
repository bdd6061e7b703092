"""Times training steps while a thread computes metrics, as --config.evaluation.background=on does.

  python tools/benchmark_background.py --case=32x16x1 --counts=50000x50000 --measured=fid

For each metric of random features: its seconds alone, steps alone before and after it, then both
at once, until the metric is there. Prints JSON: what the steps and the metric would have taken one
after the other, divided by what they took together, is `times_faster`.
"""

import json
import os
import platform
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from absl import app, flags
from benchmark_metrics import METRICS, features
from step_worker import Steps, random_training

_CASE = flags.DEFINE_string("case", "32x16x1", "<resolution>x<channels>x<D steps> of the training.")
_COUNTS = flags.DEFINE_string("counts", "50000x50000", "Real x generated samples.")
_WIDTH = flags.DEFINE_integer("features", 2048, "Features of a sample.", lower_bound=1)
_NAMES = flags.DEFINE_list("measured", ["fid"], "Metrics, of benchmark_metrics.py.")
_STEPS = flags.DEFINE_integer("steps", 50, "Steps that are timed alone.", lower_bound=1)


def training_steps(directory: str) -> Steps:
    """The steps of a transfer of 80 to 20 classes by `cgan_transfer`, batch 50, in calls of one."""
    resolution, channels, d_steps = map(int, _CASE.value.split("x"))
    case = {"method": "cgan_transfer", "precision": "float32", "batch_size": 50}
    case |= {"resolution": resolution, "channels": channels, "d_steps": d_steps}
    return Steps(random_training({**case, "old_classes": 80, "new_classes": 20}, directory), 1)


def seconds_of(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def compared(steps: Steps, metric) -> dict[str, float]:
    """A metric without arguments beside steps."""
    before = steps.turn(_STEPS.value)["milliseconds"]
    alone = seconds_of(metric)
    step = statistics.mean([before, steps.turn(_STEPS.value)["milliseconds"]]) / 1e3
    with ThreadPoolExecutor(1) as thread:
        start, done = time.perf_counter(), 0
        running = thread.submit(metric)
        while not running.done():
            steps.turn(1)
            done += 1
        together = time.perf_counter() - start
    return {
        "metric_seconds": round(alone, 1),
        "step_milliseconds": round(1e3 * step),
        "together_seconds": round(together, 1),
        "steps_beside": done,
        "times_faster": round((alone + done * step) / together, 2),
    }


def main(argv):
    del argv
    real, fake = (
        features(int(count), _WIDTH.value, seed, 1.0 + 0.1 * seed)
        for seed, count in enumerate(_COUNTS.value.split("x"))
    )
    report = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, NumPy {np.__version__}",
        "features": f"{_COUNTS.value} x {_WIDTH.value}",
    }
    with tempfile.TemporaryDirectory() as directory:
        steps = training_steps(directory)
        for name in _NAMES.value:
            report[name] = compared(steps, lambda name=name: METRICS[name](real, fake))
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    app.run(main)
