"""Images and features of no meaning, for whole routes on a tiny scale."""

import contextlib

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from cgt_tf.formats.native import save_model
from cgt_tf.networks.gan import create_gan
from cgt_tf.networks.spec import GanSpec


def make_photos(directory, counts, seed=0, size=(32, 40)):
    """Class folders of random images, by class name how many; width and height in pixels."""
    rng = np.random.default_rng(seed)
    for name, count in counts.items():
        (directory / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(directory / name / f"{i}.png")
    return directory


def make_feature_net(path):
    """A file that `evaluation.features` can name: three random features of 32-pixel images."""
    images = keras.Input((32, 32, 3))
    hidden = keras.layers.AveragePooling2D(16)(images)
    features = keras.layers.Dense(3, name="features")(keras.layers.Flatten()(hidden))
    keras.Model(images, keras.layers.Dense(2, name="logits")(features)).save(path)


def make_source(directory, blocks=1):
    """A native model of five classes, A to E, of 8 pixels or more: a handle for --config.source."""
    sizes = {"resolution": 4 * 2**blocks, "num_classes": 5, "dim_z": 8, "d_halvings": blocks}
    widths = (8,) * (blocks + 1)
    spec = GanSpec(**sizes, g_widths=widths, d_widths=widths)
    gan = create_gan(spec, list("ABCDE"))
    rng = np.random.default_rng(0)
    for norm in gan.generator.conditional_norms():
        for table in (norm.scale_table, norm.shift_table):
            table.assign(rng.normal(scale=0.5, size=table.shape))
    return f"model:{save_model(gan, directory, {})}"


@contextlib.contextmanager
def as_graphs(rewritten=False):
    """Where each `tf.function` is a graph, as users have it; tests/conftest.py turns that off.

    With `rewritten`, TensorFlow rewrites graphs before it runs them, which is off there as well.
    """
    before = tf.config.functions_run_eagerly(), tf.config.optimizer.get_experimental_options()
    tf.config.run_functions_eagerly(False)
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not rewritten})
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before[0])
        tf.config.optimizer.set_experimental_options(before[1])


def endless(*batches):
    """Batches of arrays of the same shapes in turn, over and over, as a `StageStep` takes them."""
    columns = tuple(np.stack(column) for column in zip(*batches, strict=True))
    return iter(tf.data.Dataset.from_tensor_slices(columns).repeat())
