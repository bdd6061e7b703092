"""Where a run computes: one device, all GPUs of a machine, or several machines."""

import tensorflow as tf

from cgt_tf.errors import InputError


def create_strategy(name: str, batch_size: int) -> tf.distribute.Strategy:
    """The `tf.distribute` strategy that a flag names.

    Args:
        name: `one_device` (the first GPU, else the CPU), `mirrored` (all GPUs, else all logical CPU
            devices), `multi_worker` (machines as `TF_CONFIG` lists them), or `auto` (`mirrored`
            where there are several GPUs, else `one_device`).
        batch_size: images of one pass over all replicas; must divide among them.
    """
    gpus = tf.config.list_logical_devices("GPU")
    if name == "auto":
        name = "mirrored" if len(gpus) > 1 else "one_device"
    if name == "multi_worker":
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    elif name == "mirrored":
        devices = gpus or tf.config.list_logical_devices("CPU")
        strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
    else:
        strategy = tf.distribute.OneDeviceStrategy("/gpu:0" if gpus else "/cpu:0")
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise InputError(
            f"--config.training.batch_size must divide among {replicas} replicas, got {batch_size}"
        )
    return strategy
