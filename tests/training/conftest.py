"""Runs of a GAN of one block on random 8x8 images, so that tracing a step takes seconds."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny_scratch import CLASS_NAMES, QuickScratch

from cgt_tf.config import TrainingConfig
from cgt_tf.data.image_set import ImageSet
from cgt_tf.layers.mixed import compute_in
from cgt_tf.methods.base import DataSpec
from cgt_tf.methods.registry import create_config
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.training.loop import TrainingRun


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return ImageSet(
        rng.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8),
        np.arange(12, dtype=np.int32) % 3,
        CLASS_NAMES,
        "random",
    )


@pytest.fixture
def config():
    training = TrainingConfig(
        steps=4, batch_size=4, log_every=1, sample_every=0, checkpoint_every=2, ema_decay=0.9
    )
    return create_config("scratch", seed=3, training=training)


@pytest.fixture
def make_run(tmp_path, images):
    """Builds the training run of a config in a directory, as `cgt-train` would."""

    def make(config, name="run", evaluate=None, method=QuickScratch, images=images):
        keras.utils.set_random_seed(config.seed)
        strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
        method = method(config)
        with strategy.scope(), compute_in(config.training.precision):
            networks = method.build((), DataSpec(CLASS_NAMES, 8))
        run = RunDir(tmp_path / name)
        run.open(config, CLASS_NAMES, images)
        training = TrainingRun(config, run, strategy, method, networks, images)
        if evaluate:

            def begin(extended):
                scores = evaluate(extended, int(training.state.step.numpy()))
                return lambda: scores

            training.evaluate = begin
        return training

    return make


class Stopped(Exception):
    """Raised in the place of whatever ends a process."""


@pytest.fixture
def train_until(monkeypatch):
    """Trains a run up to a step's checkpoint, as if its process ended then."""
    keep = RunDir.keep_checkpoints

    def train(run, step):
        def stop(directory, last, best):
            keep(directory, last, best)
            if directory.saved_steps()[-1] == step:
                raise Stopped

        with monkeypatch.context() as patch:
            patch.setattr(RunDir, "keep_checkpoints", stop)
            with pytest.raises(Stopped):
                run.train()

    return train


@pytest.fixture
def stored():
    """Reads all arrays of a checkpoint by name."""

    def read(run, step):
        reader = tf.train.load_checkpoint(str(run.checkpoint_path(step)))
        names = [name for name in reader.get_variable_to_shape_map() if "OBJECT_GRAPH" not in name]
        return {name: reader.get_tensor(name) for name in names}

    return read


@pytest.fixture
def assert_ends_alike(stored):
    """Checks that two runs wrote the same numbers: a checkpoint's, its GAN's, and statistics."""

    def records(run):
        return [{k: v for k, v in r.items() if "second" not in k} for r in run.read_stats()]

    def check(expected, found, step):
        arrays = stored(expected, step), stored(found, step)
        assert arrays[0].keys() == arrays[1].keys()
        for name, value in arrays[0].items():
            np.testing.assert_array_equal(arrays[1][name], value, err_msg=name)
        for network in ("generator", "discriminator"):
            files = [
                np.load(run.snapshot_path(step) / f"{network}.npz") for run in (expected, found)
            ]
            for name in files[0]:
                np.testing.assert_array_equal(files[1][name], files[0][name], err_msg=name)
        assert records(found) == records(expected)

    return check
