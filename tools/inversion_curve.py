"""Prints how well a source reconstructs images against the number of inversion steps.

  python tools/inversion_curve.py --source=bundled:glyphs32 --data=bundled:glyphs/target \
    --images=64 --steps=25,50,100,150,250,500

Each number of steps is an inversion of its own, with its own schedule; nothing is cached. Errors
are mean absolute differences of pixels in [-1, 1]. The --images are spread evenly over the data,
whose classes need not be new to the source; --heldout takes them from its held-out split.
"""

import numpy as np
from absl import flags

from cgt_tf.cli import common
from cgt_tf.errors import InputError

_SOURCE = flags.DEFINE_string("source", "bundled:glyphs32", "Handle of the source GAN.")
_DATA = flags.DEFINE_string("data", "bundled:glyphs/target", "A data spec.")
_HELDOUT = flags.DEFINE_bool("heldout", False, "Take the held-out images of the data.")
_IMAGES = flags.DEFINE_integer("images", 64, "How many.", lower_bound=1)
_STEPS = flags.DEFINE_list("steps", ["25", "50", "100", "150", "250", "500"], "Numbers of steps.")
_LEVELS = flags.DEFINE_integer("levels", 0, "Blocks of D that are compared; 0: all.", lower_bound=0)
_BATCH = flags.DEFINE_integer("batch", 50, "Images of one pass.", lower_bound=1)


def main(argv):
    common.no_arguments(argv)
    from cgt_tf.data.sources import load_train_and_heldout
    from cgt_tf.methods.inversion import InversionSettings, Inverter
    from cgt_tf.runs.handles import load_source

    source = load_source(_SOURCE.value)
    if source.discriminator is None:
        raise InputError(f"expected a source with a discriminator, got {_SOURCE.value}")
    train, heldout = load_train_and_heldout(_DATA.value, resolution=source.spec.resolution)
    data = heldout if _HELDOUT.value else train
    if data is None:
        raise InputError(f"expected held-out images in {_DATA.value}, found none")
    chosen = np.linspace(0, len(data) - 1, min(_IMAGES.value, len(data))).round().astype(int)
    images = data.images[chosen]
    print(f"{len(images)} images of {data.name}, reconstructed by {_SOURCE.value}")
    print("steps    mean  median   worst")
    for steps in map(int, _STEPS.value):
        settings = InversionSettings(steps=steps, levels=_LEVELS.value)
        inverter = Inverter(source, settings, min(_BATCH.value, len(images)))
        starts = range(0, len(images), inverter.batch)
        parts = [inverter.invert(images[i : i + inverter.batch]).error for i in starts]
        errors = np.concatenate(parts)
        figures = (errors.mean(), np.median(errors), errors.max())
        print(f"{steps:5d}" + "".join(f"{x:8.4f}" for x in figures), flush=True)


if __name__ == "__main__":
    common.run(main, "inversion_curve", __doc__)
