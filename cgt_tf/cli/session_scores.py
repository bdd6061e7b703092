"""Scores of a session's generator: on the schedule of a training, and of a finished run."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from cgt_tf.cli.wiring import Session
from cgt_tf.config import EvaluationConfig
from cgt_tf.errors import InputError
from cgt_tf.evaluation.evaluator import Evaluator
from cgt_tf.evaluation.features import load_feature_net
from cgt_tf.evaluation.generate import SampleFn, draw_latents, under_strategy
from cgt_tf.evaluation.protocols import Protocol, get_protocol
from cgt_tf.models.standing import standing_statistics

_STANDING_SEED = 1 << 32


def training_evaluator(session: Session) -> Evaluator:
    """Scores on the schedule of a training, as the run's config says."""
    config = session.config
    evaluation = config.evaluation
    protocol = get_protocol(evaluation.protocol, evaluation)
    return session_evaluator(session, protocol, evaluation, config.seed)


def training_scores(session: Session, evaluator: Evaluator, sample: Callable, step: int) -> dict:
    """Scores of `sample(z, labels)` by name, as stats.jsonl has them."""
    protocol, gan = evaluator.protocol, session.gan
    with prepare_generator(session, protocol.standing_batches, protocol.truncation):
        subject = evaluator.draw(sample, gan.spec.dim_z, gan.class_names)
        return evaluator.score(subject, f"step {step}", checkpoint_step=step).scalars


def session_evaluator(
    session: Session, protocol: Protocol, evaluation: EvaluationConfig, seed: int
) -> Evaluator:
    """Compares with held-out or training images, as the protocol says.

    Raises:
        InputError: the protocol needs held-out images, and there are none.
    """
    train, heldout = session.train_images, session.heldout
    if protocol.reference == "heldout" and heldout is None:
        raise InputError(
            f"expected held-out images of every class for {protocol.name}, found none: name some "
            "with --data, or with --config.data.heldout for a training"
        )
    use_train = protocol.reference == "train" or heldout is None
    return Evaluator(
        load_feature_net(evaluation.features, strategy=session.strategy),
        train if use_train else heldout,
        protocol,
        evaluation.metrics,
        reference_split="train" if use_train else "heldout",
        training_images=train,
        batch_size=evaluation.batch_size,
        seed=seed,
        strategy=session.strategy,
        cache_dir=session.config.data.cache_dir or None,
    )


@contextlib.contextmanager
def prepare_generator(session: Session, batches: int, truncation: float) -> Iterator[None]:
    """Gives a session's generator standing batch-norm statistics while the block runs.

    Args:
        session: its `gan.generator` is changed, and is as before afterwards.
        batches: that the statistics are averaged over, each of `config.evaluation.batch_size`
            samples with uniform labels; 0 leaves the running statistics.
        truncation: of their latents.
    """
    if not batches:
        yield
        return
    spec, size = session.gan.spec, session.config.evaluation.batch_size
    # Latents of their own: statistics of the very samples that are scored would flatter them.
    seed = session.config.seed + _STANDING_SEED

    def draws() -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        for start in range(0, batches * size, size):
            labels = np.arange(start, start + size, dtype=np.int32) % spec.num_classes
            z = draw_latents(seed, start, start + size, spec.dim_z, truncation)
            yield z, tf.constant(labels)

    with (
        session.strategy.scope(),
        standing_statistics(session.gan.generator, draws(), session.strategy.run),
    ):
        yield


def session_sample(session: Session, protocol: Protocol, batch_size: int) -> tuple[SampleFn, int]:
    """Samples of the new classes, by their labels, from the folded generator of all classes.

    Returns:
        The function, compiled under the session's strategy, and the batch size to use it with.
    """
    with session.strategy.scope():
        extended = session.method.extended(session.gan)
    positions = positions_of(extended.class_names, session.gan.class_names)

    def sample(z: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return extended(z, tf.gather(positions, labels), protocol.truncation)

    return under_strategy(session.strategy, sample, batch_size)


def positions_of(known: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Label of each name; of two classes of one name it is the last, which is the newer one."""
    index = {name: position for position, name in enumerate(known)}
    return np.array([index[name] for name in names], np.int32)
