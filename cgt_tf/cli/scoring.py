"""Everything that turns a config, a run, a SavedModel or folders of images into an evaluation.

The three modes of `cgt-evaluate` differ in where the images come from; the rest is one
`evaluation.evaluator.Evaluator`. A run is scored through the folded generator of old and new
classes that an export has, with the latents that a SavedModel gets too, so both score the same.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from cgt_tf.cli import session_scores as scores
from cgt_tf.cli.session_scores import positions_of, sample_function
from cgt_tf.cli.wiring import load_data
from cgt_tf.config import EvaluationConfig
from cgt_tf.data.image_set import ImageSet
from cgt_tf.errors import InputError
from cgt_tf.evaluation import image_specs
from cgt_tf.evaluation.evaluator import Evaluation, Evaluator
from cgt_tf.evaluation.features import refuse_program
from cgt_tf.evaluation.protocols import Protocol, get_protocol
from cgt_tf.evaluation.saved_samples import saved
from cgt_tf.evaluation.subjects import GivenImages, Subject
from cgt_tf.export.saved_model import ServedGenerator, load_saved_model
from cgt_tf.files import write_atomically
from cgt_tf.methods.registry import config_from_dict
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.runs.snapshots import open_snapshot
from cgt_tf.training.strategy import create_strategy

_PICTURE = "nearest.png"
# Fields of a request that replace the config's.
_INSTEAD = ("metrics", "features", "force_features", "batch_size")
_UNNAMED = "unnamed"  # A protocol without a name; all of its values are in the result.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What the flags of `cgt-evaluate` ask for; "", (), 0 and None stand for the default.

    Attributes:
        metrics, features, force_features, batch_size: instead of the config's.
        protocol: name of a protocol.
        changes: values of a `Protocol` that differ from the named one's, by field; None: not given.
        data: spec of the reference images.
        classes: names of the classes to score, of a SavedModel or of folders.
        resolution: side to bring the images of folders to.
        seed: of latents and draws; None: the run's, else 0.
        strategy: as `--config.training.strategy`.
        cache_dir: see `files.cache_root`.
        save_samples: directory for the scored images.
        trust: whether programs that a run's own files name may be loaded.
    """

    metrics: tuple[str, ...] = ()
    features: str = ""
    force_features: bool = False
    batch_size: int = 0
    protocol: str = ""
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)
    data: str = ""
    classes: tuple[str, ...] = ()
    resolution: int = 0
    seed: int | None = None
    strategy: str = "one_device"
    cache_dir: str = ""
    save_samples: str = ""
    trust: bool = False

    def refuse(self, reason: str, *fields: str) -> None:
        """`InputError` if any of these fields, or of the changes, was given."""
        for field in fields:
            if getattr(self, field, None) or self.changes.get(field) is not None:
                raise InputError(f"expected no --{field}: {reason}")


def score_run(workdir: str, checkpoint: str, request: Request) -> tuple[Evaluation, RunDir]:
    """Scores the new classes of a run at a checkpoint.

    Args:
        workdir: the run's directory.
        checkpoint: `best` (lowest FID), `last` or a step.
        request: `data` replaces the run's held-out images.
    """
    request.refuse("a run has its own classes and size", "classes", "resolution")
    run = RunDir(workdir)
    config = config_from_dict(run.config())
    if not (request.features or request.trust):
        refuse_program(config.evaluation.features)
    step = run.resolve_checkpoint(checkpoint)
    config.data.heldout = request.data or config.data.heldout
    config.data.cache_dir = request.cache_dir or config.data.cache_dir
    protocol = get_protocol(request.protocol or config.evaluation.protocol, config.evaluation)
    if request.data and protocol.reference == "train":
        raise InputError(
            f"expected no --data: {protocol.name} compares with the run's training images"
        )
    protocol = protocol.changed(**request.changes)
    if protocol.checkpoint and step != run.resolve_checkpoint(protocol.checkpoint):
        protocol = protocol.changed(checkpoint=checkpoint)
    evaluation = _with_request(config.evaluation, request)
    seed = config.seed if request.seed is None else request.seed
    strategy = create_strategy(request.strategy, 0)
    with strategy.scope():
        snapshot = open_snapshot(workdir, str(step))
        extended, names = snapshot.extended(), snapshot.new_classes
    train, heldout = load_data(config, extended.spec.resolution)
    evaluator = scores.run_evaluator(config, strategy, train, heldout, protocol, evaluation, seed)
    with scores.standing(extended, names, strategy, protocol, config):
        sample = sample_function(extended, names, strategy, protocol, evaluation.batch_size)
        subject = evaluator.draw(sample[0], extended.spec.dim_z, names, sample[1])
        return _score(evaluator, subject, request, run.path.name, checkpoint_step=step), run


def score_saved_model(directory: str, request: Request) -> Evaluation:
    """Scores a SavedModel of cgt-export against `request.data`, on the classes of these images."""
    request.refuse("a SavedModel has its own size and statistics", "resolution", "standing_batches")
    _require(request, "a SavedModel", "data")
    strategy = create_strategy(request.strategy, 0)
    served = load_saved_model(directory)
    reference = _model_reference(served, request)
    if reference.class_names == (image_specs.FLAT_CLASS,):
        names = list(request.classes or served.class_names)
    else:
        names = list(reference.class_names)
    evaluator = _evaluator(request, strategy, reference, _protocol(request))
    sample = _served_sample(served, names, evaluator.protocol.truncation)
    subject = evaluator.draw(sample, served.dim_z, names)
    return _score(
        evaluator,
        subject,
        request,
        f"{served.path.parent.name}/{served.path.name}",
        bn_statistics="as exported",
        standing_batches=None,
    )


def score_images(real: str, fake: str, request: Request) -> Evaluation:
    """Scores the images of one data spec, or flat folder, against those of another."""
    request.refuse("images are there already", *("labels", "truncation", "standing_batches"))
    request.refuse("--real is the reference", "data")
    strategy = create_strategy(request.strategy, 0)
    real_images, fake_images = image_specs.load_pair(
        real,
        fake,
        resolution=request.resolution,
        classes=request.classes,
        cache_dir=request.cache_dir or None,
    )
    protocol = _protocol(request, len(fake_images))
    subject = GivenImages(_evenly(fake_images, protocol.num_samples))
    evaluator = _evaluator(request, strategy, real_images, protocol)
    return _score(
        evaluator,
        subject,
        request,
        fake,
        labels="as given",
        truncation=None,
        bn_statistics=None,
        standing_batches=None,
    )


def write(evaluation: Evaluation, output: Path | None, run: RunDir | None = None) -> list[Path]:
    """Writes eval.json, the picture beside it, and TensorBoard scalars of a run.

    Args:
        evaluation: what to write.
        output: the JSON file; None is `eval.json` of the run, and nothing without a run.
        run: its events get the scalars `evaluation/<protocol>/<name>`.

    Returns:
        The files written.
    """
    written = []
    if run is not None:
        output = output or run.path / "eval.json"
        writer = tf.summary.create_file_writer(str(run.events))
        protocol = evaluation.result["protocol"]
        with writer.as_default(step=evaluation.result["checkpoint_step"]):
            for name, value in evaluation.scalars.items():
                tf.summary.scalar(f"evaluation/{protocol}/{name}", value)
        writer.close()
    if output is None:
        return written
    if evaluation.picture is not None:
        picture = output.with_name(_PICTURE)
        Image.fromarray(evaluation.picture).save(picture)
        written.append(picture)
    text = json.dumps(evaluation.result, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(output, text + "\n")
    return [output, *written]


def _evaluator(
    request: Request, strategy: tf.distribute.Strategy, reference: ImageSet, protocol: Protocol
) -> Evaluator:
    """For images that no run comes with."""
    evaluation = _with_request(EvaluationConfig(), request)
    return Evaluator(
        scores.features_for(reference, evaluation, strategy),
        reference,
        protocol,
        evaluation.metrics,
        # A named protocol is the user's word that these images are what it compares with.
        reference_split="given" if protocol.reference == "any" else protocol.reference,
        batch_size=evaluation.batch_size,
        seed=request.seed or 0,
        strategy=strategy,
        cache_dir=request.cache_dir or None,
    )


def _score(
    evaluator: Evaluator, subject: Subject, request: Request, name: str, **facts: Any
) -> Evaluation:
    with saved(subject, request.save_samples) as images:
        return evaluator.score(images, name, **facts)


def _with_request(evaluation: EvaluationConfig, request: Request) -> EvaluationConfig:
    changes = {name: getattr(request, name) for name in _INSTEAD}
    return dataclasses.replace(evaluation, **{k: value for k, value in changes.items() if value})


def _protocol(request: Request, given: int = 0) -> Protocol:
    """The protocol of a request without a run; `given`: the number of images that there are."""
    changes = {name: value for name, value in request.changes.items() if value is not None}
    if request.protocol not in ("", "run"):
        protocol = get_protocol(request.protocol, EvaluationConfig()).changed(**changes)
    else:
        counts = {"num_samples": given} if given else {}
        protocol = get_protocol("run", EvaluationConfig())
        protocol = dataclasses.replace(protocol, name=_UNNAMED, **{**counts, **changes})
    if given and given < protocol.num_samples:
        raise InputError(
            f"expected at least {protocol.num_samples} images to score for {protocol.name}, got "
            f"{given}"
        )
    return protocol


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
            f"expected classes of the SavedModel, which has {len(known)} ({', '.join(known[:5])}, "
            f"...), got {unknown[0]!r}: choose with --classes"
        )
    if wanted and images.class_names != (image_specs.FLAT_CLASS,):
        order = np.argsort(positions_of(known, wanted))
        images = images.select_classes([wanted[i] for i in order])
    return images


def _require(request: Request, what: str, *fields: str) -> None:
    for field in fields:
        if not getattr(request, field):
            raise InputError(f"expected --{field} with {what}, got none (see --help)")
