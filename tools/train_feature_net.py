"""Trains a small classifier whose features and labels score generated images.

    python tools/train_feature_net.py --output=cgt_tf/assets/glyph_classifier.keras
    python tools/train_feature_net.py --output=photos.keras --data=photos/ --images_per_class=400

The first makes the bundled one: labels are positions in `SOURCE_CLASSES + TARGET_CLASSES`. The file
takes float32 [B, R, R, 3] in [-1, 1]; its layer `features` gives float32 [B, 64] and its layer
`logits` [B, K]. Features learnt on other data are another scale: compare scores of one file only.
"""

from __future__ import annotations

import os
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags, logging

from cgt_tf.data.image_set import ImageSet
from cgt_tf.data.sources import load_train_and_heldout
from cgt_tf.errors import InputError

FEATURE_SIZE = 64
_SHIFT = 2  # Pixels, either way.

FLAGS = flags.FLAGS
flags.DEFINE_string("output", None, "File to write, ending in .keras.", required=True)
flags.DEFINE_list(
    "data",
    ["bundled:glyphs/source", "bundled:glyphs/target"],
    "Data specs; the classes of all of them are told apart.",
)
flags.DEFINE_integer("resolution", 32, "Side of the images, in pixels.", lower_bound=8)
flags.DEFINE_integer(
    "images_per_class",
    0,
    "Trained on; 0 is all. The rest is held out where a spec has no test split.",
)
flags.DEFINE_string("cache_dir", None, "As --config.data.cache_dir of cgt-train.")
flags.DEFINE_integer("epochs", 4, "Passes over both training splits.", lower_bound=1)
flags.DEFINE_integer("batch_size", 128, "Images per step.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Seed of weights, shuffling and augmentation.", lower_bound=0)
flags.DEFINE_float("learning_rate", 2e-3, "First Adam step size; decays to 0 along a cosine.")


def build_classifier(resolution: int, num_classes: int) -> keras.Model:
    """Untrained classifier: float32 [B, R, R, 3] in [-1, 1] -> logits float32 [B, K]."""
    layers = keras.layers
    images = keras.Input((resolution, resolution, 3), name="images")
    hidden = images
    for block, (filters, strides) in enumerate(((24, 2), (48, 2), (96, 1), (96, 2))):
        hidden = layers.Conv2D(
            filters, 3, strides, padding="same", use_bias=False, name=f"conv{block}"
        )(hidden)
        hidden = layers.BatchNormalization(name=f"norm{block}")(hidden)
        hidden = layers.ReLU(name=f"relu{block}")(hidden)
    hidden = layers.Flatten(name="flatten")(hidden)
    # Few and linear, so that a Gaussian fits them and few samples estimate its covariance.
    features = layers.Dense(FEATURE_SIZE, name="features")(hidden)
    logits = layers.Dense(num_classes, name="logits")(features)
    return keras.Model(images, logits, name="classifier")


def load_data() -> tuple[ImageSet, ImageSet]:
    """Training and held-out images of all specs, labelled across them."""
    pairs = [
        load_train_and_heldout(
            spec,
            resolution=FLAGS.resolution,
            images_per_class=FLAGS.images_per_class,
            seed=FLAGS.seed,
            cache_dir=FLAGS.cache_dir,
        )
        for spec in FLAGS.data
    ]
    for spec, (_, heldout) in zip(FLAGS.data, pairs, strict=True):
        if heldout is None:
            raise InputError(f"expected held-out images in {spec}: give fewer --images_per_class")
    return tuple(join(sets) for sets in zip(*pairs, strict=True))


def join(sets: tuple[ImageSet, ...]) -> ImageSet:
    """One set of several with distinct classes; labels count on from set to set."""
    firsts = np.cumsum([0] + [len(images.class_names) for images in sets])
    return ImageSet(
        np.concatenate([images.images for images in sets]),
        np.concatenate([s.labels + first for s, first in zip(sets, firsts, strict=False)]).astype(
            np.int32
        ),
        tuple(name for images in sets for name in images.class_names),
        " + ".join(images.name for images in sets),
    )


def augment(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Shifts, recolours, blurs and adds noise, each a little and differently for each image.

    Args:
      images: uint8 [B, R, R, 3].
      seed: int32 [2].

    Returns:
      float32 [B, R, R, 3] in [-1, 1].
    """
    seeds = tf.random.split(seed, 6)
    batch, side = tf.shape(images)[0], images.shape[1]
    images = tf.cast(images, tf.float32) / 127.5 - 1.0
    padding = [[0, 0], [_SHIFT, _SHIFT], [_SHIFT, _SHIFT], [0, 0]]
    images = tf.pad(images, padding, mode="SYMMETRIC")
    start = tf.random.stateless_uniform([batch, 2, 1], seeds[0], 0, 2 * _SHIFT + 1, tf.int32)
    images = tf.gather(images, start[:, 0] + tf.range(side), axis=1, batch_dims=1)
    images = tf.gather(images, start[:, 1] + tf.range(side), axis=2, batch_dims=1)
    gain = tf.random.stateless_uniform([batch, 1, 1, 3], seeds[1], 0.8, 1.2)
    offset = tf.random.stateless_uniform([batch, 1, 1, 3], seeds[2], -0.2, 0.2)
    blur = tf.random.stateless_uniform([batch, 1, 1, 1], seeds[3], 0.0, 0.7)
    deviation = tf.random.stateless_uniform([batch, 1, 1, 1], seeds[4], 0.0, 0.1)
    images = (1.0 - blur) * images + blur * tf.nn.avg_pool2d(images, 3, 1, "SAME")
    noise = deviation * tf.random.stateless_normal(tf.shape(images), seeds[5])
    return tf.clip_by_value(images * gain + offset + noise, -1.0, 1.0)


def training_dataset(
    images: np.ndarray, labels: np.ndarray, batch_size: int, seed: int
) -> tf.data.Dataset:
    """Shuffled, augmented batches of one pass; a function of the seed alone."""
    examples = tf.data.Dataset.from_tensor_slices((images, labels))
    batches = examples.shuffle(len(labels), seed=seed).batch(batch_size, drop_remainder=True)
    seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2)

    def prepare(batch: tuple[tf.Tensor, tf.Tensor], pair: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return augment(batch[0], tf.bitcast(pair, tf.int32)[:, 0]), batch[1]

    return tf.data.Dataset.zip((batches, seeds)).map(prepare).prefetch(2)


def report(model: keras.Model, heldout: ImageSet) -> None:
    """Prints held-out top-1, the worst classes and the commonest confusions."""
    names, labels = heldout.class_names, heldout.labels
    images = heldout.images.astype(np.float32) / 127.5 - 1.0
    guesses = model.predict(images, batch_size=500, verbose=0).argmax(axis=1)
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (labels, guesses), 1)
    recall = np.diag(counts) / counts.sum(axis=1)
    print(f"held-out top-1 {(guesses == labels).mean():.4f}, {len(labels)} images")
    worst = [i for i in np.argsort(recall, kind="stable")[:10] if recall[i] < 1.0]
    print("worst classes: " + (", ".join(f"{names[i]} {recall[i]:.3f}" for i in worst) or "-"))
    np.fill_diagonal(counts, 0)
    pairs = [divmod(int(i), len(names)) for i in np.argsort(-counts.ravel())[:10]]
    confused = [f"{names[a]} as {names[b]} x{counts[a, b]}" for a, b in pairs if counts[a, b]]
    print("confusions: " + (", ".join(confused) or "-"))


def save(model: keras.Model, class_names: tuple[str, ...], output: pathlib.Path) -> None:
    """Writes the weights without optimiser state, and the class names beside them, whole files."""
    bare = build_classifier(FLAGS.resolution, len(class_names))
    bare.set_weights(model.get_weights())
    output.parent.mkdir(parents=True, exist_ok=True)
    names = output.with_name(output.stem + "_classes.txt")
    partial_model = output.with_name(f".partial-{os.getpid()}-{output.name}")
    partial_names = output.with_name(f".partial-{os.getpid()}-{names.name}")
    try:
        bare.save(partial_model)
        partial_names.write_text("\n".join(class_names) + "\n", encoding="utf-8")
        os.replace(partial_names, names)
        os.replace(partial_model, output)
    finally:
        partial_model.unlink(missing_ok=True)
        partial_names.unlink(missing_ok=True)
    print(f"{output}: {bare.count_params()} parameters, {output.stat().st_size} bytes")


def train(output: pathlib.Path) -> None:
    """Trains with the flags' settings, reports on the held-out images and writes `output`."""
    if output.suffix != ".keras":
        raise InputError(f"expected --output to end in .keras, got {output}")
    keras.utils.set_random_seed(FLAGS.seed)
    images, heldout = load_data()
    data = training_dataset(images.images, images.labels, FLAGS.batch_size, FLAGS.seed)
    steps = FLAGS.epochs * (len(images.labels) // FLAGS.batch_size)
    model = build_classifier(FLAGS.resolution, len(images.class_names))
    model.compile(
        optimizer=keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(FLAGS.learning_rate, steps)
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(data, epochs=FLAGS.epochs, shuffle=False, verbose=2)
    report(model, heldout)
    save(model, images.class_names, output)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, got {' '.join(argv[1:])}")
    if FLAGS["verbosity"].using_default_value:
        logging.set_verbosity(logging.WARNING)  # TFDS is talkative at the INFO of `absl.app`.
    try:
        train(pathlib.Path(FLAGS.output))
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    app.run(main)
