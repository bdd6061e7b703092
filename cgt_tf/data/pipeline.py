"""Endless batches as a pure function of the step: any step can be entered at no cost.

Element k of the stream of a set of n images is image `shuffle(k mod n)` of epoch `k // n`, and is
mirrored by a coin that depends on k alone. Nothing has to be saved to resume, and any number of
replicas and hosts draws the very batches that one device would.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from cgt_tf.data.image_set import ImageSet
from cgt_tf.data.python_calls import call
from cgt_tf.data.records import RecordImages
from cgt_tf.errors import InputError

_SORT_UP_TO = 1024  # Images; the order of larger sets is computed element by element.
_ROUNDS = 8  # Rounds of the index cipher; its default of 4 leaves visible patterns.
_FLIP_STREAM = 1  # Keeps the coins apart from the shuffle of the same seed.


def index_stream(
    image_set: ImageSet,
    batch_size: int,
    seed: int,
    *,
    start_batch: int = 0,
    flip: bool = False,
) -> tf.data.Dataset:
    """Endless batches on one device.

    Args:
      image_set: N >= 1 images; n may be smaller than a batch.
      batch_size: B.
      seed: Seed of the shuffle and the mirroring.
      start_batch: Number of the first batch; takes no time whatever it is.
      flip: Mirror each image left to right with probability 1/2.

    Returns:
      Dataset of (images uint8 [B, H, W, 3], labels int32 [B]).

    Raises:
      InputError: an empty set, a batch size below 1 or a negative start or seed.
    """
    return _batches(image_set, batch_size, seed, start_batch, flip, replicas=(0, 1), of=1)


def distributed_batches(
    strategy: tf.distribute.Strategy,
    image_set: ImageSet,
    global_batch: int,
    seed: int,
    start_batch: int,
    *,
    flip: bool = False,
) -> tf.distribute.DistributedDataset | tf.data.Dataset:
    """Endless batches shared out among the replicas of a strategy.

    Of each batch of B, replica r of R gets the elements from r * B / R to (r + 1) * B / R of the
    batch that `index_stream` gives. Each `next` yields one batch.

    Args:
      strategy: Any synchronous strategy, on one host or several.
      image_set: As for `index_stream`.
      global_batch: B, over all replicas.
      seed: As for `index_stream`.
      start_batch, flip: As for `index_stream`.

    Returns:
      Dataset of per-replica (images uint8 [B / R, H, W, 3], labels int32 [B / R], numbers of the
      images in the set int64 [B / R]).

    Raises:
      InputError: B is not a multiple of R; or as `index_stream`.
    """
    replicas = strategy.num_replicas_in_sync
    if global_batch % replicas:
        raise InputError(
            f"expected a batch size that is a multiple of the {replicas} replicas, "
            f"got {global_batch}"
        )

    def of_pipeline(context: tf.distribute.InputContext) -> tf.data.Dataset:
        local = context.num_replicas_in_sync // context.num_input_pipelines
        first = context.input_pipeline_id * local
        return _batches(
            image_set,
            global_batch,
            seed,
            start_batch,
            flip,
            replicas=(first, first + local),
            of=context.num_replicas_in_sync,
            with_indices=True,
        )

    if _is_one_cpu(strategy):
        return of_pipeline(tf.distribute.InputContext())
    return strategy.distribute_datasets_from_function(of_pipeline)


def _is_one_cpu(strategy: tf.distribute.Strategy) -> bool:
    """Whether nothing has to be brought to a device, for which there are threads with a tuner."""
    if not isinstance(strategy, tf.distribute.OneDeviceStrategy):
        return False
    return all("CPU" in device.upper() for device in strategy.extended.worker_devices)


def to_float(images: tf.Tensor) -> tf.Tensor:
    """Images uint8 in [0, 255] -> float32 in [-1, 1], any shape."""
    return tf.cast(images, tf.float32) / 127.5 - 1.0


def to_uint8(images: tf.Tensor) -> tf.Tensor:
    """Images float in [-1, 1] -> uint8 in [0, 255], rounded; values outside are clipped."""
    scaled = tf.round((tf.cast(images, tf.float32) + 1.0) * 127.5)
    return tf.cast(tf.clip_by_value(scaled, 0.0, 255.0), tf.uint8)


def gather(images: np.ndarray | RecordImages, indices: tf.Tensor) -> tf.Tensor:
    """Images uint8 [b, H, W, 3] by indices int64 [b], in a `tf.data` pipeline.

    An array is read where it is. As a tensor that the pipeline holds it would be in memory four
    times: NumPy's, two of `tf.constant`, and one of the optimised pipeline.
    """
    if not isinstance(images, np.ndarray):
        return images.gather(indices)
    chosen = call(lambda numbers: images[numbers], indices, tf.uint8)
    return tf.ensure_shape(chosen, [*indices.shape, *images.shape[1:]])


def _batches(
    image_set: ImageSet,
    global_batch: int,
    seed: int,
    start: int,
    flip: bool,
    *,
    replicas: tuple[int, int],
    of: int,
    with_indices: bool = False,
) -> tf.data.Dataset:
    """Batches for the replicas from `replicas[0]` up to `replicas[1]`, in turn."""
    count = len(image_set)
    if count < 1 or global_batch < 1 or start < 0 or seed < 0:
        raise InputError(
            "expected at least 1 image, a batch size of at least 1 and a start and seed of at "
            f"least 0, got {count}, {global_batch}, {start} and {seed}"
        )
    first, end = replicas
    local, share = end - first, global_batch // of
    with tf.device("cpu:0"):
        labels = tf.constant(image_set.labels)

    def batch(number: tf.Tensor) -> tuple[tf.Tensor, ...]:
        replica = first + number % local
        offset = (number // local) * global_batch + replica * share
        elements = offset + tf.range(share, dtype=tf.int64)
        indices = _shuffled(elements, count, seed)
        chosen = gather(image_set.images, indices)
        if flip:
            coins = _mix(_mix(_key(seed, _FLIP_STREAM) ^ tf.cast(elements, tf.uint64)))
            mirrored = tf.cast(coins % 2, tf.bool)[:, None, None, None]
            chosen = tf.where(mirrored, tf.reverse(chosen, axis=[2]), chosen)
        chosen_labels = tf.gather(labels, indices)
        return (chosen, chosen_labels, indices) if with_indices else (chosen, chosen_labels)

    numbers = tf.data.Dataset.range(start * local, np.iinfo(np.int64).max)
    batch = tf.autograph.experimental.do_not_convert(batch)  # That takes a quarter of a second.
    batches = numbers.map(batch, num_parallel_calls=2, deterministic=True).prefetch(2 * local)
    options = tf.data.Options()
    # There is nothing to tune, and whoever frees a pipeline waits for its tuner, which sleeps for
    # ever longer.
    options.autotune.enabled = False
    return batches.with_options(options)


def _shuffled(elements: tf.Tensor, count: int, seed: int) -> tf.Tensor:
    """Image index int64 [b] of each element number of the endless stream.

    Every epoch is a permutation of range(count) of its own.

    Args:
      elements: int64 [b], b >= 1 numbers that follow each other.
      count: Number of images.
      seed: Seed of the stream.
    """
    epochs = elements // count
    if count > _SORT_UP_TO:
        word = _mix(_key(seed) ^ tf.cast(epochs, tf.uint64))
        # The cipher takes few bits from its seed: with plain (seed, epoch) there are 256 different
        # epochs. Mixed words make all of them count.
        words = [tf.cast(part, tf.uint32) for part in (word, _mix(word + 1), _mix(word + 2))]
        return tf.raw_ops.RandomIndexShuffle(
            index=elements % count,
            seed=tf.stack(words, axis=1),
            max_index=tf.constant(count - 1, tf.int64),
            rounds=_ROUNDS,
        )
    # The cipher searches a fixed range for an index in bounds, which is slow for few images.
    rows = tf.range(epochs[0], epochs[-1] + 1)
    words = _mix(_key(seed) ^ tf.cast(rows, tf.uint64))
    ranks = _mix(words[:, None] + tf.cast(tf.range(count), tf.uint64))
    order = tf.argsort(tf.bitcast(ranks, tf.int64), axis=1)
    cells = tf.stack([epochs - epochs[0], elements % count], axis=1)
    return tf.cast(tf.gather_nd(order, cells), tf.int64)


def _key(seed: int, stream: int = 0) -> tf.Tensor:
    return _mix(_mix(tf.constant(seed, tf.uint64)) + stream)


def _mix(words: tf.Tensor) -> tf.Tensor:
    """SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): uint64 of any shape to well-mixed uint64."""
    words += 0x9E3779B97F4A7C15
    words = (words ^ _shift(words, 30)) * 0xBF58476D1CE4E5B9
    words = (words ^ _shift(words, 27)) * 0x94D049BB133111EB
    return words ^ _shift(words, 31)


def _shift(words: tf.Tensor, bits: int) -> tf.Tensor:
    return tf.bitwise.right_shift(words, tf.constant(bits, tf.uint64))
