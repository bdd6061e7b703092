"""A small classifier of the user's own images, whose features score generated ones.

For data that no pretrained network suits. Its features are a scale of their own: scores are
comparable between generators that one and the same file has scored, and with nothing else.
"""

import dataclasses
import math
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from cgt_tf.data.image_set import ImageSet
from cgt_tf.data.pipeline import gather
from cgt_tf.errors import InputError
from cgt_tf.features.classifier_facts import ClassifierFacts, add_facts
from cgt_tf.features.classifier_nets import SMALL, build_classifier
from cgt_tf.files import replaced

_LEAST_STEPS, _LEAST_EPOCHS = 1000, 4
_PREDICTION_BATCH = 500
_SHOWN = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How a classifier is trained.

    Attributes:
        network: See `classifier_nets.build_classifier`.
        epochs: Passes over the images; 0: at least 4, and at least 1,000 steps.
        batch_size: Images of one step, at most.
        learning_rate: Learning rate of Adam at first; it decays to 0 along a cosine.
        flip: Mirror images at random.
        seed: Seed of weights, shuffling and augmentation.
    """

    network: str = SMALL
    epochs: int = 0
    batch_size: int = 128
    learning_rate: float = 2e-3
    flip: bool = False
    seed: int = 0

    def epochs_of(self, images: ImageSet) -> int:
        """Passes over a set of images."""
        per_epoch = len(images) // min(self.batch_size, len(images))
        return self.epochs or max(_LEAST_EPOCHS, math.ceil(_LEAST_STEPS / per_epoch))


@dataclasses.dataclass(frozen=True)
class HeldOutReport:
    """How a classifier does on images that it was not trained on.

    Attributes:
        accuracy: Top-1, in [0, 1].
        count: Number of images.
        recall: Top-1 of each class by name.
        confusions: (class, taken for, times), commonest first.
    """

    accuracy: float
    count: int
    recall: dict[str, float]
    confusions: list[tuple[str, str, int]]

    def lines(self) -> str:
        """Text for a terminal: accuracy, the worst classes and the commonest confusions."""
        worst = sorted(self.recall.items(), key=lambda item: item[1])[:_SHOWN]
        shown = ", ".join(f"{name} {value:.3f}" for name, value in worst if value < 1)
        pairs = ", ".join(f"{a} as {b} x{n}" for a, b, n in self.confusions[:_SHOWN])
        return (
            f"held-out accuracy {self.accuracy:.4f}, {self.count} images\n"
            f"worst classes: {shown or '-'}\nconfusions: {pairs or '-'}"
        )

    def facts(self, trained_on: ImageSet, epochs: int) -> ClassifierFacts:
        """What the classifier's file keeps."""
        return ClassifierFacts(
            class_names=tuple(trained_on.class_names),
            accuracy=self.accuracy,
            heldout_images=self.count,
            epochs=epochs,
            data=trained_on.name,
        )


def train_classifier(images: ImageSet, settings: Settings, verbose: int = 2) -> keras.Model:
    """Trains a classifier of at least two classes.

    Args:
        images: Images of one resolution, at least 8 pixels.
        settings: See `Settings`.
        verbose: As for `keras.Model.fit`.

    Raises:
        InputError: fewer than two classes.
    """
    if images.num_classes < 2:
        raise InputError(f"expected at least 2 classes in {images.name}, got {images.num_classes}")
    keras.utils.set_random_seed(settings.seed)
    batch_size = min(settings.batch_size, len(images))
    epochs = settings.epochs_of(images)
    shape = (images.images.shape[1], images.num_classes, settings.network)
    model = build_classifier(*shape)
    steps = epochs * (len(images) // batch_size)
    schedule = keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps)
    model.compile(
        optimizer=keras.optimizers.Adam(schedule),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    batches = training_batches(images, batch_size, settings)
    model.fit(batches, epochs=epochs, shuffle=False, verbose=verbose)
    # A fresh one: without optimiser state and compilation.
    bare = build_classifier(*shape)
    bare.set_weights(model.get_weights())
    return bare


def training_batches(images: ImageSet, batch_size: int, settings: Settings) -> tf.data.Dataset:
    """Shuffled, augmented batches of one pass; a function of the seed alone."""
    seed = settings.seed
    numbers = tf.data.Dataset.range(len(images)).shuffle(len(images), seed=seed)
    batches = numbers.batch(batch_size, drop_remainder=True)
    seeds = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2)

    def prepare(batch: tf.Tensor, pair: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        augmented = augment(
            gather(images.images, batch), tf.bitcast(pair, tf.int32)[:, 0], settings.flip
        )
        return augmented, tf.gather(images.labels, batch)

    return tf.data.Dataset.zip((batches, seeds)).map(prepare).prefetch(2)


def augment(images: tf.Tensor, seed: tf.Tensor, flip: bool = False) -> tf.Tensor:
    """Shifts, recolours, blurs and adds noise, each a little and differently for each image.

    Args:
        images: uint8 [B, R, R, 3].
        seed: int32 [2].
        flip: Mirror half of the images.

    Returns:
        float32 [B, R, R, 3] in [-1, 1].
    """
    seeds = tf.random.split(seed, 7)
    batch, side = tf.shape(images)[0], images.shape[1]
    shift = max(side // 16, 1)
    images = tf.cast(images, tf.float32) / 127.5 - 1.0
    padding = [[0, 0], [shift, shift], [shift, shift], [0, 0]]
    images = tf.pad(images, padding, mode="SYMMETRIC")
    start = tf.random.stateless_uniform([batch, 2, 1], seeds[0], 0, 2 * shift + 1, tf.int32)
    images = tf.gather(images, start[:, 0] + tf.range(side), axis=1, batch_dims=1)
    images = tf.gather(images, start[:, 1] + tf.range(side), axis=2, batch_dims=1)
    if flip:
        coins = tf.random.stateless_uniform([batch, 1, 1, 1], seeds[6]) < 0.5
        images = tf.where(coins, tf.reverse(images, axis=[2]), images)
    gain = tf.random.stateless_uniform([batch, 1, 1, 3], seeds[1], 0.8, 1.2)
    offset = tf.random.stateless_uniform([batch, 1, 1, 3], seeds[2], -0.2, 0.2)
    blur = tf.random.stateless_uniform([batch, 1, 1, 1], seeds[3], 0.0, 0.7)
    deviation = tf.random.stateless_uniform([batch, 1, 1, 1], seeds[4], 0.0, 0.1)
    images = (1.0 - blur) * images + blur * tf.nn.avg_pool2d(images, 3, 1, "SAME")
    noise = deviation * tf.random.stateless_normal(tf.shape(images), seeds[5])
    return tf.clip_by_value(images * gain + offset + noise, -1.0, 1.0)


def report(model: keras.Model, heldout: ImageSet) -> HeldOutReport:
    """Scores a classifier on held-out images of its classes, in its order."""
    names, labels = heldout.class_names, heldout.labels
    guesses = np.empty_like(labels)
    for start in range(0, len(labels), _PREDICTION_BATCH):
        part = slice(start, start + _PREDICTION_BATCH)
        images = heldout.images[part].astype(np.float32) / 127.5 - 1.0
        guesses[part] = np.asarray(model(images, training=False)).argmax(axis=1)
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (labels, guesses), 1)
    recall = np.diag(counts) / counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts.ravel(), kind="stable")
    pairs = [divmod(int(i), len(names)) for i in order[: np.count_nonzero(counts)]]
    return HeldOutReport(
        float((guesses == labels).mean()),
        len(labels),
        dict(zip(names, recall.tolist(), strict=True)),
        [(names[a], names[b], int(counts[a, b])) for a, b in pairs],
    )


def save_classifier(model: keras.Model, facts: ClassifierFacts, output: Path) -> None:
    """Writes a `.keras` file with its facts, or nothing."""
    try:
        with replaced(output) as partial:
            model.save(partial)
            add_facts(partial, facts)
    except OSError as error:
        raise InputError(
            f"expected a place to write to, got {output}: {error.strerror or error}"
        ) from None
