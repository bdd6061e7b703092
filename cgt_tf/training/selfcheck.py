"""Two steps of a tiny GAN under a strategy and on one device, compared: does this machine train?"""

import tempfile

import keras
import numpy as np
import tensorflow as tf

from cgt_tf.config import Config, TrainingConfig
from cgt_tf.data.image_set import ImageSet
from cgt_tf.layers.mixed import compute_in
from cgt_tf.methods.base import DataSpec
from cgt_tf.methods.registry import UNTRANSFERRED, create_config, create_method
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.training.loop import TrainingRun
from cgt_tf.training.strategy import create_strategy

STEPS = 2
# Largest relative difference of losses and batch-norm statistics that rounding makes.
TOLERANCES = {"float32": 1e-3, "bfloat16": 5e-2}
_IMAGES_PER_REPLICA = 4
_RESOLUTION = 32
_CLASSES = ("a", "b")


def selfcheck(config: Config) -> tuple[list[str], bool]:
    """What was computed where, and whether both agree.

    Args:
        config: Only its `training.strategy` and `training.precision` are checked, the latter
            against float32.

    Returns:
        Lines to print, and whether the differences are within `TOLERANCES`.
    """
    chosen = create_strategy(config.training.strategy, 0)
    replicas = chosen.num_replicas_in_sync
    own = create_config(
        UNTRANSFERRED,
        training=TrainingConfig(
            steps=STEPS, batch_size=_IMAGES_PER_REPLICA * replicas, ema_decay=0.0
        ),
    )
    own.model.g_widths, own.model.d_widths, own.model.dim_z = (8, 8, 8, 8), (8, 8, 8), 8
    own.model.shared_dim = 8
    one = tf.distribute.OneDeviceStrategy(tf.config.list_logical_devices("CPU")[0].name)
    precision = config.training.precision
    tolerance = TOLERANCES[precision]
    runs = (_steps(own, chosen, precision), _steps(own, one, "float32"))
    losses, statistics = zip(*runs, strict=True)
    lines = [f"strategy: {config.training.strategy}, {type(chosen).__name__}, {replicas} replicas"]
    lines.append(f"precision: {precision}")
    lines += [f"device: {name}" for name in _devices(chosen)]
    worst = 0.0
    for step, pair in enumerate(zip(*losses, strict=True), 1):
        for name, value in pair[0].items():
            difference = abs(value - pair[1][name]) / max(abs(pair[1][name]), 1.0)
            worst = max(worst, difference)
            lines.append(f"step {step}, {name}: {value:.6g}, on one CPU {pair[1][name]:.6g}")
    moved = max(
        float(np.max(np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1.0)))
        for ours, theirs in zip(*statistics, strict=True)
    )
    synchronised = "synchronised" if moved <= tolerance else "NOT those of the whole batch"
    lines.append(f"batch-norm statistics: {synchronised}, largest difference {moved:.2g}")
    agrees = max(worst, moved) <= tolerance
    verdict = "agrees with" if agrees else "DIFFERS from"
    lines.append(f"this machine {verdict} one CPU: largest difference of losses {worst:.2g}")
    return lines, agrees


def _steps(
    config: Config, strategy: tf.distribute.Strategy, precision: str
) -> tuple[list[dict], list]:
    """Scalars of each step, and the generator's moving statistics after the last."""
    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).integers(
        0, 256, (2 * config.training.batch_size, _RESOLUTION, _RESOLUTION, 3), dtype=np.uint8
    )
    labels = np.arange(len(images), dtype=np.int32) % len(_CLASSES)
    data = ImageSet(images, labels, _CLASSES, "random")
    method = create_method(config)
    with strategy.scope(), compute_in(precision):
        networks = method.build((), DataSpec(_CLASSES, _RESOLUTION))
    _set_values(networks)
    with tempfile.TemporaryDirectory() as directory:
        run = TrainingRun(config, RunDir(directory), strategy, method, networks, data)
        step, batches = run.make_step(), run.batches(run.spans[0], 0)
        found = {name: value.numpy() for name, value in step(batches, STEPS).items()}
        scalars = [{name: float(v[i]) for name, v in found.items()} for i in range(STEPS)]
    moving = [v for v in networks.generator.variables if v.name.startswith("moving_")]
    return scalars, [keras.ops.convert_to_numpy(v) for v in moving]


def _set_values(networks) -> None:
    """The same weights whatever the strategy; statistics and biases stay at their starts."""
    rng = np.random.default_rng(1)
    for network in networks.named.values():
        for variable in network.variables:
            if len(variable.shape) > 1:
                variable.assign(0.1 * rng.normal(size=variable.shape).astype(np.float32))


def _devices(strategy: tf.distribute.Strategy) -> list[str]:
    found = []
    for name in strategy.extended.worker_devices:
        device = tf.DeviceSpec.from_string(name)
        details = {}
        if device.device_type == "GPU":
            gpu = tf.config.list_physical_devices("GPU")[device.device_index]
            details = tf.config.experimental.get_device_details(gpu)
        found.append(f"{name} {details.get('device_name', '')}".strip())
    return found
