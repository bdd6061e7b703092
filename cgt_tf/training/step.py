"""One training step: D updates, one G update, the average; one `tf.function` under the strategy.

Before the first step a discriminator may be warmed up: updates of it alone, against the generator
as it stands, which is only sampled.

Every pass has a key of its own, which its random numbers depend on; see `training.draws`. What the
losses are made of is in objects that the config composes: the adversarial loss of D's outputs, the
augmentation of all that D sees, the gradient penalty.
"""

import tensorflow as tf

from cgt_tf.config import Config
from cgt_tf.data.pipeline import to_float
from cgt_tf.methods.base import Stage
from cgt_tf.training.adversarial import create_loss
from cgt_tf.training.augmentation import FAKE, REAL, Augmentation
from cgt_tf.training.draws import Draws
from cgt_tf.training.regularisers import LazyR1
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
        training = config.training
        self._strategy = strategy
        self._state = state
        self._stage = stage
        self._batch_size = training.batch_size
        self._accumulation = training.accumulation
        self._generator_passes = training.generator_accumulation or training.accumulation
        self._d_steps = training.d_steps
        self._draws = Draws(config.seed, training.batch_size, strategy)
        self._augment = Augmentation(config.augmentation, self._draws, state.adaptive)
        self._loss = create_loss(training, state.step)
        self._r1 = LazyR1(training.r1_gamma, training.r1_every)
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
            return self._discriminator_update(
                batches, first_key, number - 1, generator_training=False
            )

        return self._summed(self._strategy.run(update, args=(batches,)))

    def _summed(self, per_replica):
        return {
            name: self._strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)
            for name, value in per_replica.items()
        }

    def _distributed_step(self, batches):
        state = self._state
        sums = self._summed(self._strategy.run(self._replica_step, args=(batches,)))
        state.step.assign_add(1)
        if state.average:
            state.average.update(state.step)
        if state.adaptive:
            state.adaptive.update(state.step, sums["d_sign"])
            sums["ada_probability"] = tf.identity(state.adaptive.probability)
            sums["ada_mean_sign"] = tf.identity(state.adaptive.mean_sign)
        return sums

    def _replica_step(self, batches):
        metrics = []
        passes_before = self._d_steps * self._accumulation
        first_key = self._state.step * (passes_before + self._generator_passes)
        for d_step in range(self._d_steps):
            first = d_step * self._accumulation
            passes = batches[first : first + self._accumulation]
            update = self._state.step * self._d_steps + d_step
            metrics.append(self._discriminator_update(passes, first_key + first, update))
        last = dict(metrics[-1])
        last["d_sign"] = sum(scalars["d_sign"] for scalars in metrics) / self._d_steps
        last.update(self._generator_update(first_key + passes_before))
        return last

    def _discriminator_update(self, batches, first_key, update, generator_training=True):
        """One update of D.

        Args:
            batches: of its passes.
            first_key: of its first pass.
            update: number of the update, from 0.
            generator_training: whether the generator's batch norm is in training mode.
        """
        passes = []
        total = {}
        for i, (images, labels) in enumerate(batches):
            key = first_key + i
            z, fake_labels = self._draw(key)
            fakes = self._generate(z, fake_labels, training=generator_training)
            reals = to_float(images)
            gradients, scalars = self._discriminator_pass(reals, labels, fakes, fake_labels, key)
            passes.append(gradients)
            if self._r1.enabled:
                scalars["r1"], gradients = self._r1_pass(reals, labels, key, update)
                passes.append(gradients)
            total = {name: total.get(name, 0.0) + value for name, value in scalars.items()}
        self._state.discriminator_optimizer.apply(
            _sum_of_passes(passes), self._state.discriminator_variables
        )
        return total

    def _discriminator_pass(self, reals, labels, fakes, fake_labels, key):
        variables = [v.value for v in self._state.discriminator_variables]
        reals, fakes = self._augment(reals, key, REAL), self._augment(fakes, key, FAKE)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            outputs = self._state.gan.discriminator(
                tf.concat([reals, fakes], axis=0),
                tf.concat([labels, fake_labels], axis=0),
                training=True,
            )
            loss = self._loss.discriminator(*outputs) / self._updated_images
        real, fake = tf.split(self._loss.combined(*outputs), 2)
        return tape.gradient(loss, variables), {
            "discriminator_loss": loss,
            "d_real": tf.reduce_sum(real) / self._updated_images,
            "d_fake": tf.reduce_sum(fake) / self._updated_images,
            "d_sign": tf.reduce_sum(tf.sign(real)) / self._updated_images,
        }

    def _r1_pass(self, reals, labels, key, update):
        def logits_of(images):
            seen = self._augment(images, key, REAL)
            return self._loss.combined(*self._state.gan.discriminator(seen, labels, training=False))

        variables = [v.value for v in self._state.discriminator_variables]
        return self._r1.gradients(update, logits_of, reals, variables, self._updated_images)

    def _generator_update(self, first_key):
        gan = self._state.gan
        variables = [v.value for v in self._state.generator_variables]
        replicas = self._strategy.num_replicas_in_sync
        passes = []
        total = 0.0
        penalties = {}
        images = float(self._batch_size * self._generator_passes)
        for i in range(self._generator_passes):
            z, labels = self._draw(first_key + i)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                fakes = self._generate(z, labels, training=True)
                seen = self._augment(fakes, first_key + i, FAKE)
                outputs = gan.discriminator(seen, labels, training=True)
                loss = self._loss.generator(*outputs) / images
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
        """Real images of one update of D over all replicas and passes: what sums are divided by."""
        return float(self._batch_size * self._accumulation)

    def _generate(self, z, labels, training):
        gan = self._state.gan
        classes = self._loss.generator_classes(labels, gan.spec.num_classes)
        return gan.generator(z, classes, training=training)[0]

    def _draw(self, key):
        """This replica's latents [b, dim_z] and uniform labels [b] of the pass with a key."""
        spec = self._state.gan.spec
        return self._draws.latents(key, spec.dim_z, spec.num_classes)


def _sum_of_passes(passes):
    """Adds up the gradients of several passes, variable by variable."""
    return [sum(gradients[1:], gradients[0]) for gradients in zip(*passes, strict=True)]
