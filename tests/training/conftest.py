"""A GAN of one block on random 8x8 images, so that tracing a step takes seconds."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cgt_tf import config as configs
from cgt_tf.data.image_set import ImageSet
from cgt_tf.methods.base import DataSpec
from cgt_tf.methods.scratch import Scratch
from cgt_tf.models.gan import create_gan
from cgt_tf.models.spec import GanSpec
from cgt_tf.training.loop import TrainingRun
from cgt_tf.training.run_dir import RunDir

CLASS_NAMES = ("a", "b", "c")


class TinyScratch(Scratch):
    """Training from scratch with networks that no published table has."""

    def build(self, source, target):
        spec = GanSpec(
            resolution=8,
            num_classes=len(target.class_names),
            dim_z=8,
            g_widths=(4, 4),
            d_widths=(4, 4),
            d_halvings=1,
            hierarchical=True,
            shared_dim=4,
        )
        return create_gan(spec, list(target.class_names))


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
    config = configs.Config(seed=3)
    config.method.name = "scratch"
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
        method = TinyScratch(config)
        with strategy.scope():
            gan = method.build(None, DataSpec(CLASS_NAMES, 8))
        run = RunDir(tmp_path / name)
        run.open(config, CLASS_NAMES)
        return TrainingRun(config, run, strategy, method, gan, images, evaluate)

    return make
