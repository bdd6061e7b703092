"""One step of a supervised stage: images reconstructed, no discriminator; one `tf.function`.

Draws are those of the global batch, keyed by (seed, step and pass), and each replica takes its
slice: they do not depend on the number of replicas, and a resumed run draws what an uninterrupted
one would have drawn. What a method computes over a batch is computed over a replica's.
"""

import tensorflow as tf

from cgt_tf.config import Config
from cgt_tf.data.pipeline import to_float
from cgt_tf.methods.base import Stage
from cgt_tf.training.state import TrainState


class SupervisedStep:
    """Callable on the batches of one step; returns float32 scalars by name.

    Args:
        strategy: the `tf.distribute` strategy.
        state: created in the strategy's scope.
        stage: with a `reconstruction`.
        config: the run's config.
    """

    def __init__(
        self, strategy: tf.distribute.Strategy, state: TrainState, stage: Stage, config: Config
    ):
        self._strategy = strategy
        self._state = state
        self._stage = stage
        self._seed = config.seed
        self._batch_size = config.training.batch_size
        self._run = tf.function(self._distributed_step, autograph=False)

    def __call__(self, batches) -> dict[str, tf.Tensor]:
        """Runs one step.

        Args:
            batches: `accumulation` batches of `(images uint8 [b, R, R, 3], labels int32 [b],
                indices int64 [b])`, as the distributed dataset yields them.
        """
        return self._run(tuple(batches))

    def _distributed_step(self, batches):
        per_replica = self._strategy.run(self._replica_step, args=(batches,))
        state = self._state
        state.step.assign_add(1)
        if state.average:
            state.average.update(state.step)
        return {
            name: self._strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)
            for name, value in per_replica.items()
        }

    def _replica_step(self, batches):
        state = self._state
        replicas = self._strategy.num_replicas_in_sync
        variables = [v.value for v in state.grouped_adam.variables]
        passes, total = [], {}
        for i, (images, labels, indices) in enumerate(batches):
            draws = self._draw(state.step * len(batches) + i)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                # Replicas and passes are summed, so each takes its share of the mean.
                parts = _divided(
                    self._stage.reconstruction.loss(to_float(images), labels, indices, draws),
                    replicas * len(batches),
                )
                if i == 0:
                    parts |= _divided(self._stage.penalties(), replicas)
                parts = {"loss": sum(parts.values()), **parts}
            gradients = tape.gradient(parts["loss"], variables)
            passes.append([tf.convert_to_tensor(gradient) for gradient in gradients])
            total = {**total, **{name: total.get(name, 0.0) + x for name, x in parts.items()}}
        state.grouped_adam.apply([sum(parts[1:], parts[0]) for parts in zip(*passes, strict=True)])
        return total

    def _draw(self, key):
        """This replica's normal draws float32 [b, draws, dim_z] of the pass with a key."""
        shape = [self._batch_size, self._stage.reconstruction.draws, self._state.gan.spec.dim_z]
        draws = tf.random.stateless_normal(
            shape, tf.stack([tf.constant(self._seed, tf.int64), key])
        )
        size = self._batch_size // self._strategy.num_replicas_in_sync
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return draws[replica * size : (replica + 1) * size]


def _divided(parts: dict, count: int) -> dict:
    return {name: value / count for name, value in parts.items()}
