"""One contestant of `benchmark_steps.py`, a process of its own.

Takes a case as JSON, see `main`, and answers with a line of facts; then reads lines from its input,
a number of steps each, and answers each with a line of figures.
"""

import json
import resource
import sys
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf
from convolution_times import Convolutions
from multiply_counts import multiply_adds

from cgt_tf.data.image_set import ImageSet
from cgt_tf.layers.mixed import compute_in
from cgt_tf.methods import registry
from cgt_tf.methods.base import DataSpec
from cgt_tf.networks.gan import create_gan
from cgt_tf.networks.spec import biggan_spec
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.training.loop import TrainingRun
from cgt_tf.training.session import Session
from cgt_tf.training.step import batches_per_step

# A convolution as large as those of a step, [images, pixels, pixels, channels].
_PEAK_SHAPE = (50, 32, 32, 256)


def random_training(case: dict, directory: str) -> TrainingRun:
    """The transfer of a case, from a random source of a published spec to random images."""
    keras.utils.set_random_seed(0)
    config = registry.create_config(case["method"])
    config.training.batch_size = case["batch_size"]
    config.training.d_steps = case["d_steps"]
    config.training.precision = case["precision"]
    spec = biggan_spec(case["resolution"], case["old_classes"], case["channels"])
    names = [f"new_{i}" for i in range(case["new_classes"])]
    side, count = spec.resolution, max(4 * case["batch_size"], len(names))
    images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    labels = (np.arange(count) % len(names)).astype(np.int32)
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    method = registry.create_method(config)
    with strategy.scope(), compute_in(config.training.precision):
        source = create_gan(spec, [f"old_{i}" for i in range(spec.num_classes)])
        networks = method.build((source,), DataSpec(tuple(names), side))
    data = ImageSet(images, labels, tuple(names), "random")
    return TrainingRun(config, RunDir(directory), strategy, method, networks, data)


def training_of(config: dict, directory: str) -> TrainingRun:
    """The training of a config of `cgt-train`, with its own source and images."""
    return Session.create(registry.config_from_dict(config)).training(RunDir(directory))


class Steps:
    """Steps of a training, as many in a call as the case says, and their convolutions alone."""

    def __init__(self, run: TrainingRun, steps_per_call: int):
        self._run, self._most = run, steps_per_call
        span = run.spans[-1]  # Whose updates are not those of D alone.
        self._step, self._batches = run.make_step(span), run.batches(span, span.first)
        start = time.perf_counter()
        function = self._step.traced(self._batches)
        traced = time.perf_counter()
        self.turn(1)
        images = batches_per_step(span.stage) * run.config.training.batch_size
        counts = {kind: count / 1e9 for kind, count in multiply_adds(function).items()}
        self.facts = {
            "seconds_to_trace": round(traced - start, 1),
            "seconds_to_first_step": round(time.perf_counter() - start, 1),
            "precision": run.config.training.precision,
            "gmac_per_step": round(sum(counts.values()), 4),
            "gmac_per_image": round(sum(counts.values()) / images, 4),
            "gmac_of_convolutions_per_image": round(counts["convolutions"] / images, 4),
        }
        # Before there are the convolutions' own tensors.
        self.facts["peak_gb"] = round(self.turn(2 * self._most)["peak_gb"], 2)
        self._convolutions = Convolutions(function)

    def answer(self, steps: int) -> dict:
        """A turn, and after it the convolutions of a step."""
        return {**self.turn(steps), "convolutions_alone": self._convolutions.milliseconds()}

    def turn(self, steps: int) -> dict:
        start, done = time.perf_counter(), 0
        while done < steps:
            count = min(self._most, steps - done)
            scalars = self._step(self._batches, count)
            done += count
        next(iter(scalars.values())).numpy()  # Waits for the last step.
        milliseconds = 1e3 * (time.perf_counter() - start) / steps
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        return {"milliseconds": milliseconds, "peak_gb": peak}


class Peak:
    """One large convolution, as the machine's best."""

    def __init__(self, precision: str):
        dtype = tf.as_dtype(precision)
        x = tf.ones(_PEAK_SHAPE, dtype)
        kernel = tf.ones((3, 3, _PEAK_SHAPE[-1], _PEAK_SHAPE[-1]), dtype)
        self._run = tf.function(lambda: tf.reduce_max(tf.nn.conv2d(x, kernel, 1, "SAME")))
        multiplied = np.prod(_PEAK_SHAPE) * np.prod(kernel.shape[:3])
        self._gmac = float(multiplied) / 1e9
        self.facts = {}
        self.answer(1)

    def answer(self, steps: int) -> dict:
        """The fastest of as many calls."""
        times = []
        for _ in range(steps):
            start = time.perf_counter()
            self._run().numpy()
            times.append(time.perf_counter() - start)
        return {"gmac_per_second": self._gmac / min(times)}


def main(case: dict) -> None:
    """Runs a contestant.

    Args:
        case: `{"peak": precision}` for the convolution; or `steps_per_call`, with `config` for a
            config of `cgt-train` or else the fields that `random_training` reads.
    """
    with tempfile.TemporaryDirectory() as directory:
        if "peak" in case:
            contestant = Peak(case["peak"])
        elif "config" in case:
            run = training_of(case["config"], directory)
            contestant = Steps(run, case["steps_per_call"])
        else:
            contestant = Steps(random_training(case, directory), case["steps_per_call"])
        print(json.dumps(contestant.facts), flush=True)
        for line in sys.stdin:
            print(json.dumps(contestant.answer(int(line))), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
