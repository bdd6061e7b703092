"""The random numbers of a pass, as a pure function of the seed, the pass and their use.

They are drawn for the global batch from a stateless generator and each replica takes its slice: the
draws do not depend on the number of replicas, no replica repeats another's, and a resumed run draws
what an uninterrupted one would have drawn.
"""

import tensorflow as tf

# The stream of labels; those of `uniforms` are small.
_LABELS = 1 << 20


class Draws:
    """Draws of one run; must be called in a replica context.

    Args:
        seed: of the run.
        batch_size: B, images of one pass over all R replicas.
        strategy: the `tf.distribute` strategy.
    """

    def __init__(self, seed: int, batch_size: int, strategy: tf.distribute.Strategy):
        self._seed = seed
        self._batch_size = batch_size
        self._replicas = strategy.num_replicas_in_sync

    def latents(self, key: tf.Tensor, dim_z: int, num_classes: int) -> tuple[tf.Tensor, tf.Tensor]:
        """This replica's z float32 [B / R, dim_z] and uniform labels int32 [B / R].

        Args:
            key: int64, of the pass.
        """
        seed = self._pass_seed(key)
        z = tf.random.stateless_normal([self._batch_size, dim_z], seed)
        # Of one seed, the labels would be a function of the first latents.
        seed = tf.random.experimental.stateless_fold_in(seed, _LABELS)
        labels = tf.random.stateless_uniform(
            [self._batch_size], seed, 0, num_classes, dtype=tf.int32
        )
        return self._share(z), self._share(labels)

    def uniforms(self, key: tf.Tensor, stream: int, count: int) -> tf.Tensor:
        """This replica's uniform numbers in [0, 1), float32 [B / R, count].

        Args:
            key: int64, of the pass.
            stream: use of the numbers in the pass; different ones are independent.
        """
        seed = tf.random.experimental.stateless_fold_in(self._pass_seed(key), stream)
        return self._share(tf.random.stateless_uniform([self._batch_size, count], seed))

    def _pass_seed(self, key):
        return tf.stack([tf.constant(self._seed, tf.int64), tf.cast(key, tf.int64)])

    def _share(self, values):
        size = self._batch_size // self._replicas
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return values[replica * size : (replica + 1) * size]
