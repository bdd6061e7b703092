"""The random numbers of a microbatch, as a pure function of the seed, the microbatch and their use.

They are drawn for the global batch from a stateless generator and each replica takes its slice: the
draws do not depend on the number of replicas, no replica repeats another's, and a resumed run draws
what an uninterrupted one would have drawn.
"""

import tensorflow as tf

# The stream of labels; those of `uniforms` are small.
_LABELS = 1 << 20


class Draws:
    """Draws of one run.

    Args:
        seed: Seed of the run.
        batch_size: B, images of one microbatch over all R replicas.
        strategy: The `tf.distribute` strategy.
    """

    def __init__(self, seed: int, batch_size: int, strategy: tf.distribute.Strategy):
        self._seed = seed
        self.batch_size = batch_size
        self.replicas = strategy.num_replicas_in_sync

    def of_microbatch(self, key: tf.Tensor) -> "MicrobatchDraws":
        """The draws of the microbatch with a key, int64."""
        seed = tf.stack([tf.constant(self._seed, tf.int64), tf.cast(key, tf.int64)])
        return MicrobatchDraws(self, seed)


class MicrobatchDraws:
    """Draws of one microbatch; its functions must be called in a replica's context."""

    def __init__(self, draws: Draws, seed: tf.Tensor):
        self._draws = draws
        self._seed = seed

    def latents(self, dim_z: int, num_classes: int) -> tuple[tf.Tensor, tf.Tensor]:
        """This replica's z float32 [B / R, dim_z] and uniform labels int32 [B / R]."""
        # Of one seed, the labels would be a function of the first latents.
        seed = tf.random.experimental.stateless_fold_in(self._seed, _LABELS)
        labels = tf.random.stateless_uniform(
            [self._draws.batch_size], seed, 0, num_classes, dtype=tf.int32
        )
        return self.normal(dim_z), self._share(labels)

    def normal(self, *shape: int) -> tf.Tensor:
        """This replica's normal numbers, float32 [B / R, *shape]; those of `latents` are the same
        where the shape is [dim_z]."""
        return self._share(tf.random.stateless_normal([self._draws.batch_size, *shape], self._seed))

    def uniforms(self, stream: int, count: int) -> tf.Tensor:
        """This replica's uniform numbers in [0, 1), float32 [B / R, count].

        Args:
            stream: Use of the numbers in the microbatch; different ones are independent.
        """
        seed = tf.random.experimental.stateless_fold_in(self._seed, stream)
        return self._share(tf.random.stateless_uniform([self._draws.batch_size, count], seed))

    def _share(self, values):
        size = self._draws.batch_size // self._draws.replicas
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return values[replica * size : (replica + 1) * size]
