"""Training steps: the phases of a stage in turn; one `tf.function` under the strategy.

Every microbatch has a key of its own, which its random numbers depend on; see `training.draws`.
Those of one update are a loop in the graph, whose gradients add up replica by replica. Steps are a
loop around it, always, so that how many a call makes changes no number.
"""

from collections.abc import Iterator

import tensorflow as tf

from cgt_tf.config import Config
from cgt_tf.data.pipeline import to_float
from cgt_tf.methods.adversarial import D_SIGN
from cgt_tf.methods.phases import Microbatch, Phase, Stage
from cgt_tf.networks.weights import variable_name
from cgt_tf.training.augmentation import Augmentation
from cgt_tf.training.draws import Draws
from cgt_tf.training.state import TrainState

# Reported by phases whose loss has several terms.
_TOTAL_LOSS = "loss"
# What a loop carries must have its shape before it is known what a loss reports.
_MOST_SCALARS = 64


def batches_per_step(stage: Stage) -> int:
    """Batches of training images that a step of a stage takes."""
    return sum(phase.updates * phase.microbatches for phase in stage.phases if phase.images)


def microbatches_per_step(stage: Stage) -> int:
    """Microbatches of a step of a stage, with and without training images."""
    return sum(phase.updates * phase.microbatches for phase in stage.phases)


class StageStep:
    """Callable on an iterator of image batches; makes some steps and returns their scalars.

    Args:
        strategy: The `tf.distribute` strategy.
        state: Created in the strategy's scope.
        stage: Stage whose phases are run.
        config: The run's config.
        first_step: Steps of the stages before.
        first_microbatch: Microbatches of the stages before.

    Attributes:
        reported: Names of the scalars that are no losses; complete after the first call.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        state: TrainState,
        stage: Stage,
        config: Config,
        first_step: int = 0,
        first_microbatch: int = 0,
    ):
        self._strategy = strategy
        self._state = state
        self._stage = stage
        self._first_step, self._first_microbatch = first_step, first_microbatch
        self._draws = Draws(config.seed, config.training.batch_size, strategy)
        self._augmentation = Augmentation(config.augmentation, state.adaptive)
        self.reported: set[str] = set()
        self._run = tf.function(self._steps, autograph=False)

    def __call__(self, batches: Iterator, steps: int = 1) -> dict[str, tf.Tensor]:
        """Makes steps, without coming back to Python between them.

        Args:
            batches: TensorFlow's iterator of batches `(images uint8 [b, R, R, 3], labels int32 [b],
                indices int64 [b])`, as of the distributed dataset; a step takes
                `batches_per_step(stage)` of them.
            steps: How many, at least 1.

        Returns:
            Scalars of each step by name, float32 [steps].
        """
        return self._run(batches, tf.constant(steps))

    def traced(self, batches: Iterator) -> tf.types.experimental.ConcreteFunction:
        """The graph that calls on such batches run, however many steps they make."""
        return self._run.get_concrete_function(batches, tf.constant(1))

    def _steps(self, batches, steps):
        names: list[str] = []

        def step(i, rows):
            scalars = self._step([next(batches) for _ in range(batches_per_step(self._stage))])
            names[:] = scalars
            return i + 1, rows.write(i, tf.stack(list(scalars.values())))

        loop = (tf.constant(0), tf.TensorArray(tf.float32, steps))
        loop = tf.while_loop(lambda i, _: i < steps, step, loop, parallel_iterations=1)
        values = tf.unstack(loop[1].stack(), len(names), axis=1)
        return dict(zip(names, values, strict=True))

    def _step(self, batches):
        state, scalars = self._state, {}
        done = state.step - self._first_step
        key = self._first_microbatch + done * microbatches_per_step(self._stage)
        for phase in self._stage.phases:
            count = phase.updates * phase.microbatches
            taken, batches = (batches[:count], batches[count:]) if phase.images else ((), batches)
            scalars |= self._phase(phase, taken, key, done)
            key += count
        state.step.assign_add(1)
        if state.ema:
            state.ema.update(state.step)
        if state.adaptive and D_SIGN in scalars:
            state.adaptive.update(state.step, scalars[D_SIGN])
            scalars["ada_probability"] = tf.identity(state.adaptive.probability)
            scalars["ada_mean_sign"] = tf.identity(state.adaptive.mean_sign)
            self.reported |= {"ada_probability", "ada_mean_sign"}
        return scalars

    def _phase(self, phase: Phase, batches, first_key, done) -> dict:
        """All updates of a phase in a step, if it is its turn; scalars are their means."""
        names: list[str] = []

        def run():
            totals = []
            for i in range(phase.updates):
                first = i * phase.microbatches
                update = done // phase.every * phase.updates + i
                taken = batches[first : first + phase.microbatches]
                totals.append(self._update(phase, taken, first_key + first, update, names))
            return tf.add_n(totals) / phase.updates

        if phase.every == 1:
            values = run()
        else:
            values = tf.cond(done % phase.every == 0, run, lambda: tf.zeros([_MOST_SCALARS]))
        return dict(zip(names, tf.unstack(values[: len(names)]), strict=True))

    def _update(self, phase: Phase, batches, first_key, update, names: list[str]):
        """One update; returns its scalars float32 [_MOST_SCALARS] and enters their names."""

        def one(batch, key):
            return self._microbatch(phase, batch, key, update, names)

        if phase.microbatches == 1:
            batch = batches[0] if batches else None
            totals = self._strategy.run(one, args=(batch, first_key))
        else:
            totals = self._loop(phase, batches, first_key, one)
        gradients, scalars = totals
        optimizer = self._state.optimizers[phase.name]
        self._strategy.run(optimizer.apply, args=(gradients,))
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, scalars, axis=None)

    def _loop(self, phase: Phase, batches, first_key, one):
        """The sums of `one` over the microbatches of an update, as a loop in the graph."""
        strategy = self._strategy
        variables = self._state.optimizers[phase.name].variables
        stacked = strategy.run(_stacked, args=(batches,)) if batches else None

        def zeros():
            gradients = [tf.zeros(v.shape, v.dtype) for v in variables]
            return gradients, tf.zeros([_MOST_SCALARS])

        def added(i, totals, stacked):
            batch = None if stacked is None else tuple(part[i] for part in stacked)
            return tf.nest.map_structure(tf.add, totals, one(batch, first_key + i))

        def body(i, totals):
            return i + 1, strategy.run(added, args=(i, totals, stacked))

        start = (tf.constant(0, tf.int64), strategy.run(zeros))
        return tf.while_loop(lambda i, _: i < phase.microbatches, body, start)[1]

    def _microbatch(self, phase: Phase, batch, key, update, names: list[str]):
        """Gradients of a replica's share of a microbatch, and its scalars; in a replica's context.

        Replicas and microbatches are summed, so each takes its share of the mean.
        """
        state, share = self._state, 1.0 / (phase.microbatches * self._strategy.num_replicas_in_sync)
        images, labels, indices = batch or (None, None, None)
        draws = self._draws.of_microbatch(key)
        given = Microbatch(
            networks=state.networks,
            step=state.step,
            update=update,
            images=None if images is None else to_float(images),
            labels=labels,
            indices=indices,
            draws=draws,
            augment=lambda images, stream: self._augmentation(images, draws, stream),
        )
        variables = state.optimizers[phase.name].variables
        values = [v.value for v in variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            terms = phase.loss(given)
            loss = sum(terms.minimized.values()) * share
        gradients = tape.gradient(loss, values)
        for variable, gradient in zip(variables, gradients, strict=True):
            if gradient is None:
                raise ValueError(
                    f"the loss of the phase {phase.name} does not depend on "
                    f"{variable_name(variable)}, which it trains"
                )
        scalars = {**terms.minimized, **terms.reported}
        if len(scalars) > _MOST_SCALARS:
            raise ValueError(
                f"expected at most {_MOST_SCALARS} scalars of the phase {phase.name}, got "
                f"{len(scalars)}"
            )
        names[:] = scalars
        self.reported |= terms.reported.keys() - {_TOTAL_LOSS}
        shares = [tf.cast(value, tf.float32) * share for value in scalars.values()]
        padded = tf.pad(tf.stack(shares), [[0, _MOST_SCALARS - len(shares)]])
        # Dense, so that the moments of a row that this microbatch does not see fall too.
        return [tf.convert_to_tensor(gradient) for gradient in gradients], padded


def _stacked(batches):
    """Batches of one shape as one with a leading axis."""
    return tuple(tf.stack(parts) for parts in zip(*batches, strict=True))
