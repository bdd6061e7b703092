"""Reading what a checkpoint holds of a run's networks, by their names, without building them."""

import re

import numpy as np
import tensorflow as tf

from cgt_tf.errors import InputError
from cgt_tf.runs.run_dir import RunDir

# Parts of a checkpoint, as `training.state` writes them: <part>/<network>/<variable>.
NETWORKS, EMA = "networks", "ema"
_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


def read_networks(run: RunDir, step: int) -> dict[str, dict[str, np.ndarray]]:
    """Values of all variables by network and name, the EMA where there is one.

    Raises:
        InputError: the checkpoint cannot be read.
    """
    path = run.checkpoint_path(step)
    found: dict[str, dict[str, np.ndarray]] = {}
    try:
        reader = tf.train.load_checkpoint(str(path))
        keys = [key for key in reader.get_variable_to_shape_map() if key.endswith(_VALUE)]
        for part in (NETWORKS, EMA):
            for key in keys:
                first, *names = key.removesuffix(_VALUE).split("/")
                if first == part:
                    network, variable = map(_unescaped, names)
                    found.setdefault(network, {})[variable] = reader.get_tensor(key)
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"expected a checkpoint of a run at {path}: {reason}") from error
    return found


def _unescaped(name: str) -> str:
    """A key of a dictionary from its form in a checkpoint's keys."""
    return re.sub(r"\.(S|\.)", lambda match: "/" if match[1] == "S" else ".", name)
