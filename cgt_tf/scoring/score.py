"""Scores of a run, of a SavedModel, or of images that are there already.

The three differ in where the images come from; the rest is one `evaluator.Evaluator`. A run is
scored through the folded generator of old and new classes that an export has, with the latents that
a SavedModel gets too, so both score the same.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from cgt_tf.config import EvaluationConfig
from cgt_tf.data import image_specs
from cgt_tf.data.few_shot import load_data
from cgt_tf.data.image_set import ImageSet
from cgt_tf.errors import InputError, first_few
from cgt_tf.export.served import ServedGenerator, load_saved_model
from cgt_tf.features.loading import refuse_program
from cgt_tf.methods.registry import config_from_dict
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.runs.snapshots import open_snapshot
from cgt_tf.scoring.evaluator import Evaluator
from cgt_tf.scoring.of_runs import (
    at_checkpoint,
    features_for,
    positions_of,
    run_evaluator,
    sample_function,
    standing,
)
from cgt_tf.scoring.protocols import Protocol, get_protocol
from cgt_tf.scoring.request import MODEL, RUN, Request
from cgt_tf.scoring.samples import GivenImages, Samples
from cgt_tf.scoring.saved_samples import saved
from cgt_tf.scoring.scores import Scores
from cgt_tf.training.strategy import create_strategy


def score(request: Request) -> tuple[Scores, RunDir | None]:
    """Scores what a request names; with the run where it is one.

    Raises:
        InputError: what does not fit together, or is not there.
    """
    if request.kind == RUN:
        return _score_run(request)
    if request.kind == MODEL:
        return _score_saved_model(request), None
    return _score_images(request), None


def score_export(request: Request, export: ServedGenerator) -> tuple[Scores, Scores]:
    """Scores the new classes of a run, and those of its export on the same latents and labels.

    Args:
        request: Of the run; without standing statistics, which an export does not have.
        export: Of the request's checkpoint.

    Raises:
        InputError: see `score`.
    """
    return _score_run(request)[0], _score_run(request, export)[0]


def _score_run(request: Request, export: ServedGenerator | None = None) -> tuple[Scores, RunDir]:
    """Scores the new classes of a run at a checkpoint; `data` replaces its held-out images.

    With `export` its images are scored, of the same latents and labels.
    """
    request.refuse("a run has its own classes and size", "classes", "resolution")
    request.refuse("a run has its own training images", "training")
    run = RunDir(request.workdir)
    config = config_from_dict(run.config())
    if not (request.features or request.trust):
        refuse_program(config.evaluation.features)
    step = run.resolve_checkpoint(request.checkpoint)
    config.data.heldout = request.data or config.data.heldout
    config.data.cache_dir = request.cache_dir or config.data.cache_dir
    protocol = get_protocol(request.protocol or config.evaluation.protocol, config.evaluation)
    if request.data and protocol.reference == "train":
        raise InputError(
            f"expected no --data: {protocol.name} compares with the run's training images"
        )
    protocol = at_checkpoint(protocol.changed(**request.changes), run, request.checkpoint, step)
    evaluation = request.changed(config.evaluation)
    seed = config.seed if request.seed is None else request.seed
    strategy = create_strategy(request.strategy, 0)
    with strategy.scope():
        snapshot = open_snapshot(request.workdir, str(step))
        extended, names = snapshot.extended(), snapshot.new_classes
    train, heldout = load_data(config, extended.spec.resolution)
    evaluator = run_evaluator(config, strategy, train, heldout, protocol, evaluation, seed)
    with standing(extended, names, strategy, protocol, config):
        sample = sample_function(extended, names, strategy, protocol, evaluation.batch_size)
        if export is not None:
            sample = _served_sample(export, names, protocol.truncation), evaluation.batch_size
        samples = evaluator.draw(sample[0], extended.spec.dim_z, names, sample[1])
        return _score(evaluator, samples, request, run.path.name, checkpoint_step=step), run


def _score_saved_model(request: Request) -> Scores:
    """Scores a SavedModel of cgt-export against `request.data`, on the classes of these images."""
    request.refuse("a SavedModel has its own size and statistics", "resolution", "standing_batches")
    request.require("a SavedModel", "data")
    strategy = create_strategy(request.strategy, 0)
    served = load_saved_model(request.model)
    reference = _model_reference(served, request)
    if reference.class_names == (image_specs.FLAT_CLASS,):
        names = list(request.classes or served.class_names)
    else:
        names = list(reference.class_names)
    evaluator = _evaluator(request, strategy, reference, request.protocol_of())
    sample = _served_sample(served, names, evaluator.protocol.truncation)
    samples = evaluator.draw(sample, served.dim_z, names)
    return _score(
        evaluator,
        samples,
        request,
        f"{served.path.parent.name}/{served.path.name}",
        bn_statistics="as exported",
        standing_batches=None,
    )


def _score_images(request: Request) -> Scores:
    """Scores the images of one data spec, or flat folder, against those of another."""
    request.refuse("images are there already", *("labels", "truncation", "standing_batches"))
    request.refuse("--real is the reference", "data")
    strategy = create_strategy(request.strategy, 0)
    real_images, fake_images = image_specs.load_pair(
        request.real,
        request.fake,
        resolution=request.resolution,
        classes=request.classes,
        cache_dir=request.cache_dir or None,
    )
    protocol = request.protocol_of(len(fake_images))
    samples = GivenImages(_evenly(fake_images, protocol.num_samples))
    evaluator = _evaluator(request, strategy, real_images, protocol)
    return _score(
        evaluator,
        samples,
        request,
        request.fake,
        labels="as given",
        truncation=None,
        bn_statistics=None,
        standing_batches=None,
    )


def _evaluator(
    request: Request, strategy: tf.distribute.Strategy, reference: ImageSet, protocol: Protocol
) -> Evaluator:
    """For images that no run comes with."""
    evaluation = request.changed(EvaluationConfig())
    training = None
    if request.training:
        side, cache = reference.images.shape[1], request.cache_dir or None
        training = image_specs.load(request.training, side, cache_dir=cache)
    # A named protocol is the user's word that these images are what it compares with, and so is
    # naming the training images beside them.
    split = "given" if protocol.reference == "any" else protocol.reference
    return Evaluator(
        features_for(reference, evaluation, strategy),
        reference,
        protocol,
        evaluation.metrics,
        reference_split="heldout" if training and split == "given" else split,
        training_images=training,
        batch_size=evaluation.batch_size,
        seed=request.seed or 0,
        strategy=strategy,
        cache_dir=request.cache_dir or None,
    )


def _score(
    evaluator: Evaluator, samples: Samples, request: Request, name: str, **facts: Any
) -> Scores:
    with saved(samples, request.save_samples) as images:
        return evaluator.score(images, name, **facts)


def _evenly(images: ImageSet, count: int) -> ImageSet:
    """`count` of the images, spread evenly over their order."""
    if count == len(images):
        return images
    chosen = np.arange(count) * len(images) // count
    return images.subset(chosen, f"{images.name} ({count} of {len(images)})")


def _served_sample(
    served: ServedGenerator, names: Sequence[str], truncation: float
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """The same through the signature `from_latent` of a SavedModel."""
    signature = served.signatures["from_latent"]
    positions = positions_of(served.class_names, names)
    more = {}
    if "truncation" in signature.structured_input_signature[1]:
        more["truncation"] = tf.constant(truncation, tf.float32)

    def sample(z: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        label = tf.cast(tf.gather(positions, labels), tf.int64)
        return signature(label=label, z=z, **more)["image"]

    return sample


def _model_reference(served: ServedGenerator, request: Request) -> ImageSet:
    """The real images, their classes in the model's order; every one a class of the model."""
    images = image_specs.load(request.data, served.resolution, cache_dir=request.cache_dir or None)
    known = served.class_names
    if images.class_names == (image_specs.FLAT_CLASS,) and image_specs.FLAT_CLASS not in known:
        wanted = request.classes
    else:
        wanted = request.classes or images.class_names
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise InputError(
            f"expected classes of the SavedModel, which has {len(known)} ({first_few(known)}), "
            f"got {unknown[0]!r}: choose with --classes"
        )
    if wanted and images.class_names != (image_specs.FLAT_CLASS,):
        order = np.argsort(positions_of(known, wanted))
        images = images.select_classes([wanted[i] for i in order])
    return images
