"""Trains the small glyph classifier whose features and labels score generated glyphs.

    python tools/train_feature_net.py --output=cgt_tf/assets/glyph_classifier.keras

Labels are positions in `SOURCE_CLASSES + TARGET_CLASSES`. The file takes float32 [B, 32, 32, 3] in
[-1, 1]; its layer `features` gives float32 [B, 64] and its layer `logits` [B, 100].
"""

from __future__ import annotations

import os
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags, logging

from cgt_tf.data import glyphs
from cgt_tf.data.glyph_classes import SOURCE_CLASSES, TARGET_CLASSES
from cgt_tf.errors import InputError

CLASS_NAMES = SOURCE_CLASSES + TARGET_CLASSES
FEATURE_SIZE = 64
_SHIFT = 2  # Pixels, either way.

FLAGS = flags.FLAGS
flags.DEFINE_string("output", None, "File to write, ending in .keras.", required=True)
flags.DEFINE_string("data_dir", None, "TFDS data directory; none is the TFDS default.")
flags.DEFINE_integer("epochs", 4, "Passes over both training splits.", lower_bound=1)
flags.DEFINE_integer("batch_size", 128, "Images per step.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Seed of weights, shuffling and augmentation.", lower_bound=0)
flags.DEFINE_float("learning_rate", 2e-3, "First Adam step size; decays to 0 along a cosine.")


def build_classifier() -> keras.Model:
    """Untrained classifier: float32 [B, 32, 32, 3] in [-1, 1] -> logits float32 [B, 100]."""
    layers = keras.layers
    images = keras.Input((glyphs.RESOLUTION, glyphs.RESOLUTION, 3), name="images")
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
    logits = layers.Dense(len(CLASS_NAMES), name="logits")(features)
    return keras.Model(images, logits, name="glyph_classifier")


def load_split(split: str, data_dir: str | None) -> tuple[np.ndarray, np.ndarray]:
    """All images uint8 [N, 32, 32, 3] and labels int32 [N] of a split of both subsets."""
    images, labels, first_label = [], [], 0
    for subset in glyphs.SUBSETS:
        builder = glyphs.prepare(subset, data_dir)
        for batch in builder.as_dataset(split=split, batch_size=1000).as_numpy_iterator():
            images.append(batch["image"])
            labels.append(batch["label"].astype(np.int32) + first_label)
        first_label += builder.info.features["label"].num_classes
    return np.concatenate(images), np.concatenate(labels)


def augment(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Shifts, recolours, blurs and adds noise, each a little and differently for each image.

    Args:
      images: uint8 [B, 32, 32, 3].
      seed: int32 [2].

    Returns:
      float32 [B, 32, 32, 3] in [-1, 1].
    """
    seeds = tf.random.split(seed, 6)
    batch, side = tf.shape(images)[0], glyphs.RESOLUTION
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


def report(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> float:
    """Prints held-out top-1, the worst classes and the commonest confusions; returns top-1."""
    logits = model.predict(images.astype(np.float32) / 127.5 - 1.0, batch_size=500, verbose=0)
    guesses = logits.argmax(axis=1)
    counts = np.zeros((len(CLASS_NAMES), len(CLASS_NAMES)), np.int64)
    np.add.at(counts, (labels, guesses), 1)
    recall = np.diag(counts) / counts.sum(axis=1)
    is_target = labels >= len(SOURCE_CLASSES)
    top1 = float((guesses == labels).mean())
    print(
        f"held-out top-1 {top1:.4f} (source {(guesses == labels)[~is_target].mean():.4f}, "
        f"target {(guesses == labels)[is_target].mean():.4f}, mean of classes {recall.mean():.4f})"
    )
    worst = [i for i in np.argsort(recall, kind="stable")[:10] if recall[i] < 1.0]
    print(
        "worst classes: " + (", ".join(f"{CLASS_NAMES[i]} {recall[i]:.3f}" for i in worst) or "-")
    )
    np.fill_diagonal(counts, 0)
    pairs = [divmod(int(i), len(CLASS_NAMES)) for i in np.argsort(-counts.ravel())[:10]]
    confused = [
        f"{CLASS_NAMES[a]} as {CLASS_NAMES[b]} x{counts[a, b]}" for a, b in pairs if counts[a, b]
    ]
    print("confusions: " + (", ".join(confused) or "-"))
    return top1


def save(model: keras.Model, output: pathlib.Path) -> None:
    """Writes the weights without optimiser state, and the class names beside them, whole files."""
    bare = build_classifier()
    bare.set_weights(model.get_weights())
    output.parent.mkdir(parents=True, exist_ok=True)
    names = output.with_name(output.stem + "_classes.txt")
    partial_model = output.with_name(f".partial-{os.getpid()}-{output.name}")
    partial_names = output.with_name(f".partial-{os.getpid()}-{names.name}")
    try:
        bare.save(partial_model)
        partial_names.write_text("\n".join(CLASS_NAMES) + "\n", encoding="utf-8")
        os.replace(partial_names, names)
        os.replace(partial_model, output)
    finally:
        partial_model.unlink(missing_ok=True)
        partial_names.unlink(missing_ok=True)
    print(f"{output}: {bare.count_params()} parameters, {output.stat().st_size} bytes")


def train(output: pathlib.Path) -> None:
    """Trains with the flags' settings, reports on the test splits and writes `output`."""
    if output.suffix != ".keras":
        raise InputError(f"expected --output to end in .keras, got {output}")
    keras.utils.set_random_seed(FLAGS.seed)
    images, labels = load_split("train", FLAGS.data_dir)
    data = training_dataset(images, labels, FLAGS.batch_size, FLAGS.seed)
    steps = FLAGS.epochs * (len(labels) // FLAGS.batch_size)
    model = build_classifier()
    model.compile(
        optimizer=keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(FLAGS.learning_rate, steps)
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(data, epochs=FLAGS.epochs, shuffle=False, verbose=2)
    report(model, *load_split("test", FLAGS.data_dir))
    save(model, output)


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
