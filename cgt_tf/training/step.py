"""One training step: D updates, one G update, the average; one `tf.function` under the strategy.

Before the first step a discriminator may be warmed up: updates of it alone, against the generator
as it stands, which is only sampled.

Latents and labels of a pass are drawn for the global batch from a stateless generator, keyed by
(seed, step and pass), and each replica takes its slice: the draws do not depend on the number of
replicas, and a resumed run draws what an uninterrupted one would have drawn.
"""

import tensorflow as tf

from cgt_tf.config import Config
from cgt_tf.data.pipeline import to_float
from cgt_tf.methods.base import Stage
from cgt_tf.training import objectives
from cgt_tf.training.state import TrainState


class TrainStep:
    """Callable on the list of image batches of one step; returns float32 scalars by name.

    Args:
        strategy: the `tf.distribute` strategy.
        state: created in the strategy's scope.
        stage: gives the penalties on the generator.
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
        self._accumulation = config.training.accumulation
        self._d_steps = config.training.d_steps
        self._run = tf.function(self._distributed_step, autograph=False)
        self._run_warm_up = tf.function(self._distributed_warm_up, autograph=False)

    def __call__(self, batches) -> dict[str, tf.Tensor]:
        """Runs one step.

        Args:
            batches: `d_steps * accumulation` batches of `(images uint8 [b, R, R, 3], labels int32
                [b])`, as the distributed dataset yields them.
        """
        return self._run(tuple(batches))

    def warm_up(self, batches, number: int) -> dict[str, tf.Tensor]:
        """One update of the discriminator alone.

        Args:
            batches: `accumulation` batches.
            number: of the update, from 1; what is drawn depends on it.
        """
        return self._run_warm_up(tuple(batches), tf.constant(number, tf.int64))

    def _distributed_warm_up(self, batches, number):
        # Keys below zero, which no training step draws from.
        first_key = -number * self._accumulation

        def update(batches):
            return self._discriminator_update(batches, first_key, generator_training=False)

        return self._summed(self._strategy.run(update, args=(batches,)))

    def _summed(self, per_replica):
        return {
            name: self._strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)
            for name, value in per_replica.items()
        }

    def _distributed_step(self, batches):
        sums = self._summed(self._strategy.run(self._replica_step, args=(batches,)))
        self._state.step.assign_add(1)
        if self._state.average:
            self._state.average.update(self._state.step)
        return sums

    def _replica_step(self, batches):
        metrics = []
        first_key = self._state.step * (self._d_steps + 1) * self._accumulation
        for d_step in range(self._d_steps):
            first = d_step * self._accumulation
            passes = batches[first : first + self._accumulation]
            metrics.append(self._discriminator_update(passes, first_key + first))
        last = dict(metrics[-1])
        first_key += self._d_steps * self._accumulation
        last.update(self._generator_update(first_key))
        return last

    def _discriminator_update(self, batches, first_key, generator_training=True):
        gan = self._state.gan
        variables = [v.value for v in self._state.discriminator_variables]
        passes = []
        total = {}
        for i, (images, labels) in enumerate(batches):
            z, fake_labels = self._draw(first_key + i)
            fakes, _ = gan.generator(z, fake_labels, training=generator_training)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                logits, _ = gan.discriminator(
                    tf.concat([to_float(images), fakes], axis=0),
                    tf.concat([labels, fake_labels], axis=0),
                    training=True,
                )
                real, fake = tf.split(logits, 2)
                loss = objectives.hinge_discriminator_loss(real, fake) / self._updated_images
            passes.append(tape.gradient(loss, variables))
            scalars = {
                "discriminator_loss": loss,
                "d_real": tf.reduce_sum(real) / self._updated_images,
                "d_fake": tf.reduce_sum(fake) / self._updated_images,
            }
            total = {name: total.get(name, 0.0) + value for name, value in scalars.items()}
        self._state.discriminator_optimizer.apply(
            _sum_of_passes(passes), self._state.discriminator_variables
        )
        return total

    def _generator_update(self, first_key):
        gan = self._state.gan
        variables = [v.value for v in self._state.generator_variables]
        replicas = self._strategy.num_replicas_in_sync
        passes = []
        total = 0.0
        penalties = {}
        for i in range(self._accumulation):
            z, labels = self._draw(first_key + i)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                fakes, _ = gan.generator(z, labels, training=True)
                logits, _ = gan.discriminator(fakes, labels, training=True)
                loss = objectives.hinge_generator_loss(logits) / self._updated_images
                objective = loss
                if i == 0:
                    # Replicas are summed, so each takes its share of what is not a batch mean.
                    penalties = {k: v / replicas for k, v in self._stage.penalties().items()}
                    objective = loss + sum(penalties.values())
            passes.append(tape.gradient(objective, variables))
            total += loss
        self._state.generator_optimizer.apply(
            _sum_of_passes(passes), self._state.generator_variables
        )
        return {"generator_loss": total, **penalties}

    @property
    def _updated_images(self):
        """Images of one update over all replicas and passes: what sums are divided by."""
        return float(self._batch_size * self._accumulation)

    def _draw(self, key):
        """This replica's latents [b, dim_z] and uniform labels [b] of the pass with a key."""
        spec = self._state.gan.spec
        seed = tf.stack([tf.constant(self._seed, tf.int64), key])
        z = tf.random.stateless_normal([self._batch_size, spec.dim_z], seed)
        labels = tf.random.stateless_uniform(
            [self._batch_size], seed, 0, spec.num_classes, dtype=tf.int32
        )
        size = self._batch_size // self._strategy.num_replicas_in_sync
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        start = replica * size
        return z[start : start + size], labels[start : start + size]


def _sum_of_passes(passes):
    """Adds up the gradients of several passes, variable by variable."""
    return [sum(gradients[1:], gradients[0]) for gradients in zip(*passes, strict=True)]
