"""Cuts a source GAN into several by its classes, each a model directory.

  python tools/split_source.py --source=bundled:glyphs32 --parts=2 --output=runs/halves

writes runs/halves/part_0 and part_1, of consecutive classes and as many in each as can be. Each
part is the source with some of its classes: class tables and embeddings are cut, all other weights
are the source's, so that images of a class stay as they are. So are the discriminator's, but for
the scale of its projection, which is divided by the spectral norm of what is left.
"""

import dataclasses
from pathlib import Path

import numpy as np
from absl import flags
from keras import ops

from cgt_tf.cli import common
from cgt_tf.errors import InputError
from cgt_tf.formats.native import save_model
from cgt_tf.networks.gan import Gan, create_discriminator, create_generator
from cgt_tf.networks.weights import variable_name
from cgt_tf.runs.handles import read_source, to_gan

_SOURCE = flags.DEFINE_string("source", None, "Handle of the source.")
_PARTS = flags.DEFINE_integer("parts", 2, "How many.", lower_bound=2)
_OUTPUT = flags.DEFINE_string("output", None, "New directory, for one directory a part.")


def part_of(gan: Gan, classes: np.ndarray) -> Gan:
    """The GAN of some of its classes.

    Raises:
        InputError: classes that are no rows of tables, or that the discriminator has not.
    """
    spec = gan.spec
    if spec.wrapper != "plain" or spec.domain_classes or spec.d_classes:
        raise InputError("expected a source with a table of classes and a discriminator of them")
    spec = dataclasses.replace(spec, num_classes=len(classes))
    generator = create_generator(spec, initializer="zeros")
    _cut(gan.generator, generator, classes)
    discriminator = None
    if gan.discriminator is not None:
        discriminator = create_discriminator(spec, initializer="zeros")
        _cut(gan.discriminator, discriminator, classes)
    return Gan(spec, generator, discriminator, [gan.class_names[i] for i in classes])


def _cut(source, target, classes) -> None:
    """Copies all variables, of one with an axis of classes the chosen ones."""
    values = {variable_name(v): ops.convert_to_numpy(v) for v in source.variables}
    for variable in target.variables:
        value = values[variable_name(variable)]
        pairs = zip(value.shape, variable.shape, strict=True)
        for axis, (old, new) in enumerate(pairs):
            value = value if old == new else np.take(value, classes, axis)
        variable.assign(value)


def main(argv):
    common.no_arguments(argv)
    common.require(_SOURCE.value, "--source", "handle of a source")
    common.require(_OUTPUT.value, "--output", "new directory")
    imported = read_source(_SOURCE.value)
    gan, count = to_gan(imported), _PARTS.value
    if count > len(gan.class_names):
        raise InputError(
            f"expected --parts of at most the source's {len(gan.class_names)} classes, got {count}"
        )
    for i, classes in enumerate(np.array_split(np.arange(len(gan.class_names)), count)):
        part = part_of(gan, classes)
        provenance = {"source": _SOURCE.value, "part": [i, count], "of": imported.provenance}
        path = save_model(part, Path(_OUTPUT.value) / f"part_{i}", provenance)
        print(f"{path}: {len(classes)} classes, {' '.join(part.class_names)}")


if __name__ == "__main__":
    common.run(main, "split_source", __doc__)
