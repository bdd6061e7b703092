"""A width-4 GAN on random images: runs in a second or two a step function."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cgt_tf import config as configs
from cgt_tf.data.image_set import ImageSet
from cgt_tf.methods.base import DataSpec
from cgt_tf.methods.registry import create_method
from cgt_tf.training.loop import TrainingRun
from cgt_tf.training.run_dir import RunDir

CLASS_NAMES = ("a", "b", "c")


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return ImageSet(
        rng.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8),
        np.arange(12, dtype=np.int32) % 3,
        CLASS_NAMES,
        "random",
    )


@pytest.fixture
def config():
    config = configs.Config(seed=3)
    config.method.name = "scratch"
    config.model = configs.ModelConfig(
        g_widths=(8, 4, 4, 4), d_widths=(4, 4, 8), dim_z=8, shared_dim=4
    )
    config.training = configs.TrainingConfig(
        steps=4, batch_size=4, log_every=1, sample_every=0, checkpoint_every=2, ema_decay=0.9
    )
    return config


@pytest.fixture
def make_run(tmp_path, images):
    """Builds the training run of a config in a directory, as `cgt-train` would."""

    def make(config, name="run", evaluate=None):
        keras.utils.set_random_seed(config.seed)
        strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
        method = create_method(config)
        with strategy.scope():
            gan = method.build(None, DataSpec(CLASS_NAMES, 32))
        run = RunDir(tmp_path / name)
        run.open(config)
        return TrainingRun(config, run, strategy, method, gan, images, evaluate)

    return make
