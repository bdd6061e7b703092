"""Scores of a generator's new classes: on the schedule of a training, and of a finished run."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from cgt_tf.config import Config, EvaluationConfig
from cgt_tf.data.image_set import ImageSet
from cgt_tf.errors import InputError
from cgt_tf.features.choice import NoFeaturesError, load_features
from cgt_tf.features.feature_net import FeatureNet
from cgt_tf.latents import draw_latents
from cgt_tf.networks.extended import ExtendedGenerator
from cgt_tf.networks.standing import standing_statistics
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.scoring.evaluator import Evaluator
from cgt_tf.scoring.generate import SampleFn, under_strategy
from cgt_tf.scoring.protocols import Protocol, get_protocol
from cgt_tf.training.session import Session

_STANDING_SEED = 1 << 32


def training_scores(
    session: Session, tell: Callable[[str], None]
) -> Callable[[ExtendedGenerator], Callable[[], dict[str, float]]] | None:
    """Scores on the schedule of a training, as stats.jsonl has them, of the extended generator.

    Args:
        session: The training.
        tell: Called with a line on the feature network, or on why there are no scores.

    Returns:
        The function, which draws samples of a generator, computes their features and returns what
        computes the scores from them, see `Evaluator.begin`; None where no scores are asked for,
        or where `auto` finds no feature network that fits.

    Raises:
        InputError: what the run's config asks for is not there.
    """
    config, names = session.config, session.networks.class_names
    if not config.evaluation.every:
        return None
    protocol = get_protocol(config.evaluation.protocol, config.evaluation)
    try:
        evaluator = run_evaluator(
            config,
            session.strategy,
            session.train_images,
            session.heldout,
            protocol,
            config.evaluation,
            config.seed,
        )
    except NoFeaturesError as error:
        if config.training.early_stop:
            raise
        tell(f"no scores in this run: {error}")
        return None
    tell(_shown(evaluator.feature_net))
    # One generator is scored again and again: its function is compiled once.
    compiled = functools.cache(
        lambda extended: sample_function(
            extended, names, session.strategy, protocol, config.evaluation.batch_size
        )
    )

    def begin(extended: ExtendedGenerator) -> Callable[[], dict[str, float]]:
        sample, batch_size = compiled(extended)
        with standing(extended, names, session.strategy, protocol, config):
            samples = evaluator.draw(sample, extended.spec.dim_z, names, batch_size)
            return evaluator.begin(samples)

    return begin


def _shown(net: FeatureNet) -> str:
    """One line on the feature network, and one more where it is poor."""
    if net.facts is None:
        return f"scores: features of {net.name}"
    poor = net.facts.warning()
    return (
        f"scores: features of {net.name}, which names {net.facts.accuracy:.1%} of its own held-out "
        "images correctly" + (f"\nwarning: {poor}" if poor else "")
    )


def run_evaluator(
    config: Config,
    strategy: tf.distribute.Strategy,
    train: ImageSet,
    heldout: ImageSet | None,
    protocol: Protocol,
    evaluation: EvaluationConfig,
    seed: int,
) -> Evaluator:
    """Compares with held-out or training images, as the protocol says.

    Raises:
        InputError: the protocol needs held-out images, and there are none.
    """
    if protocol.reference == "heldout" and heldout is None:
        raise InputError(
            f"expected held-out images of every class for {protocol.name}, found none: name some "
            "with --data, or with --config.data.heldout for a training"
        )
    use_train = protocol.reference == "train" or heldout is None
    reference = train if use_train else heldout
    return Evaluator(
        features_for(reference, evaluation, strategy),
        reference,
        protocol,
        evaluation.metrics,
        reference_split="train" if use_train else "heldout",
        training_images=train,
        batch_size=evaluation.batch_size,
        seed=seed,
        strategy=strategy,
        cache_dir=config.data.cache_dir or None,
    )


def at_checkpoint(protocol: Protocol, run: RunDir, which: str, step: int) -> Protocol:
    """A protocol whose name says so where it is about the lowest FID and scores another checkpoint.

    Args:
        protocol: of the scores.
        run: that is scored.
        which: `best`, `last` or a step, as it was asked for.
        step: of that checkpoint.
    """
    if protocol.checkpoint != "best":
        return protocol
    if which != "best" and step != run.resolve_checkpoint("best"):
        return protocol.changed(checkpoint=which)
    if not run.scores():
        return protocol.changed(checkpoint="last")
    if run.criterion != "fid":
        return protocol.changed(checkpoint=f"best by {run.criterion}")
    return protocol


def features_for(
    reference: ImageSet, evaluation: EvaluationConfig, strategy: tf.distribute.Strategy
) -> FeatureNet:
    """The feature network that a config names or leaves to `auto`; see `choice.load_features`."""
    return load_features(
        evaluation.features,
        reference.class_names,
        reference.images.shape[1],
        force=evaluation.force_features,
        strategy=strategy,
    )


@contextlib.contextmanager
def standing(
    extended: ExtendedGenerator,
    new_classes: Sequence[str],
    strategy: tf.distribute.Strategy,
    protocol: Protocol,
    config: Config,
) -> Iterator[None]:
    """Gives the new classes standing batch-norm statistics while the block runs.

    Args:
        extended: Its generator is changed, and is as before afterwards.
        new_classes: New classes whose samples the statistics are of, with uniform labels.
        strategy: Strategy that the generator was made under.
        protocol: `standing_batches` batches of `config.evaluation.batch_size` are averaged, at its
            truncation; 0 leaves the running statistics.
        config: Config of the run.
    """
    batches, size = protocol.standing_batches, config.evaluation.batch_size
    if not batches:
        yield
        return
    positions = positions_of(extended.class_names, new_classes)
    # Latents of their own: statistics of the very samples that are scored would flatter them.
    seed = config.seed + _STANDING_SEED

    def draws() -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
        for start in range(0, batches * size, size):
            labels = positions[np.arange(start, start + size) % len(positions)]
            z = draw_latents(seed, start, start + size, extended.spec.dim_z, protocol.truncation)
            yield z, tf.constant(labels)

    # The new classes are the last domain; behind a wrapper all domains are theirs.
    domain = -1 if extended.mixes else None
    with (
        strategy.scope(),
        standing_statistics(extended.generator, draws(), strategy.run, domain),
    ):
        yield


def sample_function(
    extended: ExtendedGenerator,
    new_classes: Sequence[str],
    strategy: tf.distribute.Strategy,
    protocol: Protocol,
    batch_size: int,
) -> tuple[SampleFn, int]:
    """Samples of the new classes, by their labels, from the folded generator of all classes.

    Returns:
        The function, compiled under the strategy, and the batch size to use it with.
    """
    positions = positions_of(extended.class_names, new_classes)

    def sample(z: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return extended(z, tf.gather(positions, labels), protocol.truncation)

    return under_strategy(strategy, sample, batch_size)


def positions_of(known: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Label of each name; of two classes of one name it is the last, which is the newer one."""
    index = {name: position for position, name in enumerate(known)}
    return np.array([index[name] for name in names], np.int32)
