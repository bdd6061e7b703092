"""Prints how far the discriminators of runs have moved from their source's.

  python tools/d_drift.py --source=bundled:glyphs32 runs/d3t_gan runs/d3t_gan_lambda_d_0

For every run, at --checkpoint: |W - W_source| / |W_source| over all trained weights but the class
table, and the same of each block's features of held-out images, averaged over blocks. The images
are those of the first run. The runs are only read.
"""

import numpy as np
from absl import flags

from cgt_tf.cli import common
from cgt_tf.errors import InputError

_SOURCE = flags.DEFINE_string("source", None, "Handle of the source GAN.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "last", "best, last or a step.")
_IMAGES = flags.DEFINE_integer("images", 256, "Held-out images.", lower_bound=1)


def main(argv):
    common.require(_SOURCE.value, "--source", "handle of the source GAN")
    directories = argv[1:]
    if not directories:
        raise InputError("expected directories of runs, got none")
    from cgt_tf.data.few_shot import load_data
    from cgt_tf.methods.distillation import drift
    from cgt_tf.methods.registry import config_from_dict
    from cgt_tf.runs.handles import load_source
    from cgt_tf.runs.snapshots import open_snapshot

    source = load_source(_SOURCE.value)
    snapshots = [open_snapshot(directory, _CHECKPOINT.value) for directory in directories]
    config = config_from_dict(snapshots[0].run.config())
    train, heldout = load_data(config, source.spec.resolution)
    data = heldout or train
    chosen = np.linspace(0, len(data) - 1, min(_IMAGES.value, len(data))).round().astype(int)
    images = data.images[chosen].astype(np.float32) / 127.5 - 1
    print(f"{len(images)} images of {data.name}")
    print(" weights features   step  run")
    for directory, snapshot in zip(directories, snapshots, strict=True):
        if snapshot.gan.discriminator is None:
            raise InputError(f"expected runs with a discriminator, {directory} has none")
        weights, features = drift(source.discriminator, snapshot.gan.discriminator, images)
        print(f"{weights:8.4f} {features:8.4f} {snapshot.step:6d}  {directory}")


if __name__ == "__main__":
    common.run(main, "d_drift", __doc__)
