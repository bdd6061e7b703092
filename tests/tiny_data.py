"""Images and features of no meaning, for whole routes on a tiny scale."""

import keras
import numpy as np
from PIL import Image


def make_photos(directory, names, count):
    """Class folders of random images, 40 x 32 pixels."""
    rng = np.random.default_rng(0)
    for name in names:
        (directory / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (40, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(directory / name / f"{i}.png")


def make_feature_net(path):
    """A file that `evaluation.features` can name: three random features of 32-pixel images."""
    images = keras.Input((32, 32, 3))
    hidden = keras.layers.AveragePooling2D(16)(images)
    features = keras.layers.Dense(3, name="features")(keras.layers.Flatten()(hidden))
    keras.Model(images, keras.layers.Dense(2, name="logits")(features)).save(path)
