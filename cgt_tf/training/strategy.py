"""Where a run computes: one device, all GPUs of a machine, or several machines."""

import json
import os

import tensorflow as tf

from cgt_tf.errors import InputError


def create_strategy(name: str, batch_size: int) -> tf.distribute.Strategy:
    """The `tf.distribute` strategy that a flag names.

    Args:
        name: `one_device` (the first GPU, else the CPU), `mirrored` (all GPUs, else all logical CPU
            devices), `multi_worker` (machines as `TF_CONFIG` lists them), or `auto` (`mirrored`
            where there are several GPUs, else `one_device`).
        batch_size: Images of one microbatch over all replicas; must divide among them; 0: any.
    """
    if name == "multi_worker":
        _check_tf_config(os.environ.get("TF_CONFIG", ""))
    # Collective operations must be set up before anything asks for the devices.
    strategy = (
        tf.distribute.MultiWorkerMirroredStrategy() if name == "multi_worker" else _local(name)
    )
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise InputError(
            f"--config.training.batch_size must divide among {replicas} replicas, got {batch_size}"
        )
    return strategy


def _check_tf_config(text: str) -> None:
    """`InputError` for a TF_CONFIG that names no workers, or no one of them as this process."""
    if not text:
        return
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        count = len(cluster[task["type"]])
        known = isinstance(task["index"], int) and 0 <= task["index"] < count
        addresses = [address for group in cluster.values() for address in group]
        known = known and all(isinstance(address, str) and ":" in address for address in addresses)
    except (ValueError, KeyError, TypeError, AttributeError):
        known = False
    if not known:
        raise InputError(
            'expected TF_CONFIG={"cluster": {"worker": ["host:port", ...]}, "task": {"type": '
            '"worker", "index": <of this process>}}, got another content'
        )


def _local(name: str) -> tf.distribute.Strategy:
    gpus = tf.config.list_logical_devices("GPU")
    if name == "auto":
        name = "mirrored" if len(gpus) > 1 else "one_device"
    if name == "mirrored":
        devices = gpus or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    return tf.distribute.OneDeviceStrategy("/gpu:0" if gpus else "/cpu:0")


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes the run directory; the first worker does, or the only process."""
    resolver = strategy.cluster_resolver
    return resolver is None or resolver.task_id in (None, 0)
