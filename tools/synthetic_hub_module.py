"""Writes a module directory like DeepMind's BigGAN on TF-Hub, with random weights.

  python tools/synthetic_hub_module.py --resolution=128 --channels=96 --output=synthetic_128

For timing imports at full size where the published modules cannot be fetched. It has what an
importer reads: a checkpoint with raw and averaged copies, and a graph with the tables of batch-norm
statistics. It has no graph to run, so `cgt-import --verify` does not work on it.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import app, flags
from tensorflow.core.protobuf import saved_model_pb2

from cgt_tf.formats import hub_module, tfhub_rules
from cgt_tf.formats.assign import collect
from cgt_tf.networks.gan import create_generator
from cgt_tf.networks.spec import biggan_spec

_RESOLUTION = flags.DEFINE_integer("resolution", 128, "128, 256 or 512.")
_CHANNELS = flags.DEFINE_integer("channels", 96, "Width multiplier.")
_NUM_CLASSES = flags.DEFINE_integer("num_classes", 1000, "Classes.")
_OUTPUT = flags.DEFINE_string("output", None, "New directory.", required=True)
_AVERAGED = ("/w", "/b", "/gamma", "/beta")
_GRID = hub_module.GRIDS[50]


def tensors_of(spec) -> dict[str, np.ndarray]:
    """All variables of the module, by the names they have there."""
    generator = create_generator(spec)
    tensors = collect(generator, tfhub_rules.weight_rules(spec))
    for name in list(tensors):
        if name.endswith(_AVERAGED):
            tensors[f"{name}/ema_b999900"] = tensors[name]
    for _, scope, channels in tfhub_rules.norm_scopes(spec):
        tensors[f"{scope}/accumulated_mean"] = np.zeros(channels, np.float32)
        tensors[f"{scope}/accumulated_var"] = np.ones(channels, np.float32)
        tensors[f"{scope}/accumulation_counter"] = np.float32(1)
    return tensors


def graph_of(spec) -> tf.compat.v1.GraphDef:
    """Constants and Pack nodes: a table of means and one of variances for each norm."""
    with tf.Graph().as_default() as graph:
        for _, _, channels in tfhub_rules.norm_scopes(spec):
            for value in (np.zeros(channels, np.float32), np.ones(channels, np.float32)):
                tf.stack([tf.constant(value) for _ in _GRID])
    return graph.as_graph_def()


def main(_):
    directory = Path(_OUTPUT.value)
    (directory / "variables").mkdir(parents=True)
    attention = {128: 64, 256: 128, 512: 64}[_RESOLUTION.value]
    spec = biggan_spec(
        _RESOLUTION.value, _NUM_CLASSES.value, _CHANNELS.value, g_attention=(attention,)
    )
    tensors = tensors_of(spec)
    tf.raw_ops.SaveV2(
        prefix=str(directory / "variables" / "variables"),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )
    message = saved_model_pb2.SavedModel()
    message.meta_graphs.add().graph_def.CopyFrom(graph_of(spec))
    (directory / "saved_model.pb").write_bytes(message.SerializeToString())
    print(f"{sum(t.size for t in tensors.values()):,} numbers in {len(tensors)} variables")


if __name__ == "__main__":
    app.run(main)
