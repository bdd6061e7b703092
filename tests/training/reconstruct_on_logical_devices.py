"""Trains a tiny BSA on one and on two logical CPU devices and prints their losses as JSON."""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from cgt_tf.config import Config  # noqa: E402
from cgt_tf.data.image_set import ImageSet  # noqa: E402
from cgt_tf.data.pipeline import distributed_batches  # noqa: E402
from cgt_tf.methods.base import DataSpec  # noqa: E402
from cgt_tf.methods.bsa import BSA  # noqa: E402
from cgt_tf.models.gan import create_gan  # noqa: E402
from cgt_tf.models.spec import GanSpec  # noqa: E402
from cgt_tf.training.state import TrainState  # noqa: E402
from cgt_tf.training.strategy import create_strategy  # noqa: E402
from cgt_tf.training.supervised_step import SupervisedStep  # noqa: E402


def losses(strategy_name: str, steps: int) -> dict:
    config = Config(seed=1)
    config.training.batch_size = 4
    # Of each replica's own codes, so not the same on two.
    config.bsa.emd = 0.0
    keras.utils.set_random_seed(0)
    strategy = create_strategy(strategy_name, config.training.batch_size)
    spec = GanSpec(
        resolution=8, num_classes=3, dim_z=4, g_widths=(4, 4), d_widths=(4,), d_halvings=1
    )
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    images = ImageSet(pixels, np.arange(6, dtype=np.int32) % 2, ("a", "b"), "random")
    method = BSA(config)
    with strategy.scope():
        gan = method.build(create_gan(spec, list("xyz")), DataSpec(images.class_names, 8))
        method.prepare(gan, images)
        (stage,) = method.stages()
        state = TrainState(gan, stage, config)
    batches = iter(distributed_batches(strategy, images, 4, 1, 0, batches_per_step=2, indices=True))
    step = SupervisedStep(strategy, state, stage, config)
    records = [step([next(batches), next(batches)]) for _ in range(steps)]
    return {name: [float(record[name]) for record in records] for name in records[0]}


if __name__ == "__main__":
    print(json.dumps([losses(name, int(sys.argv[1])) for name in ("one_device", "mirrored")]))
