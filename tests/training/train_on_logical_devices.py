"""Trains a tiny transfer on two logical CPU devices and prints its losses as JSON.

python train_on_logical_devices.py <strategy> <steps of each stage> [<config fields as JSON>]
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from cgt_tf.data.image_set import ImageSet  # noqa: E402
from cgt_tf.data.pipeline import distributed_batches  # noqa: E402
from cgt_tf.layers.mixed import compute_in  # noqa: E402
from cgt_tf.methods import registry  # noqa: E402
from cgt_tf.methods.base import DataSpec  # noqa: E402
from cgt_tf.networks.gan import create_gan  # noqa: E402
from cgt_tf.networks.spec import GanSpec  # noqa: E402
from cgt_tf.training.state import TrainState  # noqa: E402
from cgt_tf.training.step import StageStep  # noqa: E402
from cgt_tf.training.strategy import create_strategy  # noqa: E402


def main(strategy_name: str, steps: int, fields: str = "{}") -> None:
    config = registry.config_from_dict(json.loads(fields))
    config.seed = 1
    config.training.batch_size = 8
    registry.validate(config)
    keras.utils.set_random_seed(0)
    strategy = create_strategy(strategy_name, config.training.batch_size)
    spec = GanSpec(
        resolution=32,
        num_classes=5,
        dim_z=8,
        g_widths=(8, 4, 4, 4),
        d_widths=(4, 4, 8),
        d_halvings=2,
        hierarchical=True,
        shared_dim=4,
    )
    rng = np.random.default_rng(0)
    images = ImageSet(
        rng.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8),
        np.arange(20, dtype=np.int32) % 2,
        ("a", "b"),
        "random",
    )
    method = registry.create_method(config)
    with strategy.scope(), compute_in(config.training.precision):
        source = create_gan(spec, list("vwxyz"))
        networks = method.build((source,), DataSpec(images.class_names, 32))
        method.prepare(networks, images)
        stages = method.stages(networks)
        state = TrainState(networks, stages, config, method.ema_networks)
    most = config.training.steps_per_call
    losses = {}
    for stage in stages:
        batches = iter(distributed_batches(strategy, images, config.training.batch_size, 1, 0))
        step = StageStep(strategy, state, stage, config)
        for done in range(0, steps, most):
            for name, values in step(batches, min(most, steps - done)).items():
                losses.setdefault(name, []).extend(map(float, values))
    print(json.dumps({"replicas": strategy.num_replicas_in_sync, **losses}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
