"""Times training steps of several methods against each other.

  python tools/benchmark_steps.py --output=docs/comparison/step_times.json \
    --flagfiles=configs/methods/cgan_transfer.flags,configs/methods/bsa_adv.flags

All are built in one process and take turns of --steps steps, so that other load on the machine
meets all of them; the median turn of each counts. Ratios are to the first flagfile.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import app, flags, logging

from cgt_tf.config import Config
from cgt_tf.methods import registry

_FLAGFILES = flags.DEFINE_list("flagfiles", [], "One a method.")
_TURNS = flags.DEFINE_integer("turns", 7, "Turns of each.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 30, "Steps of a turn.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", None, "JSON file to write.")


def read_config(flagfile: str) -> Config:
    """The config that cgt-train makes of a flagfile."""
    command = [sys.executable, "-m", "cgt_tf.cli.train", f"--flagfile={flagfile}", "--dry_run"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return registry.config_from_dict(json.JSONDecoder().raw_decode(text)[0])


class Contestant:
    """A method's training, step by step."""

    def __init__(self, config: Config, directory: Path):
        # TensorFlow is loaded here, so that reading configs does not hold its memory.
        from cgt_tf.runs.run_dir import RunDir
        from cgt_tf.training.loop import TrainingRun
        from cgt_tf.training.session import Session
        from cgt_tf.training.step import batches_per_step

        session = Session.create(config)
        training = TrainingRun(
            config,
            RunDir(directory),
            session.strategy,
            session.method,
            session.networks,
            session.train_images,
        )
        span = training.spans[-1]  # Whose updates are not those of D alone.
        self._count = batches_per_step(span.stage)
        self._step = training.make_step(span)
        self._batches = training.batches(span, span.first)
        self.turn(2)

    def turn(self, steps: int) -> float:
        """Milliseconds of a step."""
        start = time.perf_counter()
        for _ in range(steps):
            scalars = self._step([next(self._batches) for _ in range(self._count)])
        float(next(iter(scalars.values())))  # Waits for the last step.
        return (time.perf_counter() - start) / steps * 1e3


def main(argv):
    del argv
    logging.set_verbosity(logging.ERROR)  # TFDS tells of every file it reads.
    names = [Path(flagfile).stem for flagfile in _FLAGFILES.value]
    read = [read_config(flagfile) for flagfile in _FLAGFILES.value]
    with tempfile.TemporaryDirectory() as directory:
        contestants = [Contestant(c, Path(directory) / n) for c, n in zip(read, names, strict=True)]
        turns = [[c.turn(_STEPS.value) for c in contestants] for _ in range(_TURNS.value)]
    medians = dict(zip(names, np.median(turns, axis=0).round(2).tolist(), strict=True))
    for name, value in medians.items():
        print(f"{name:<24} {value:8.1f} ms a step  {value / medians[names[0]]:.2f} x")
    if _OUTPUT.value:
        machine = (
            f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
        )
        record = {"milliseconds": medians, "machine": machine, "turns": _TURNS.value}
        Path(_OUTPUT.value).write_text(json.dumps(record, indent=1), encoding="utf-8")


if __name__ == "__main__":
    app.run(main)
