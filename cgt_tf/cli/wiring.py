"""What the commands share: from a config to networks and data."""

import dataclasses
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from cgt_tf.config import Config
from cgt_tf.data.image_set import ImageSet
from cgt_tf.data.pipeline import to_uint8
from cgt_tf.data.sources import load_train_and_heldout
from cgt_tf.export.saved_model import load_saved_model
from cgt_tf.export.serving import latents_from_seeds
from cgt_tf.layers.mixed import compute_in
from cgt_tf.methods.base import DataSpec, Networks, TransferMethod
from cgt_tf.methods.phases import Stage
from cgt_tf.methods.registry import create_method
from cgt_tf.networks.extended import ExtendedGenerator, extended_from
from cgt_tf.networks.fold import parameters_per_class
from cgt_tf.networks.gan import Gan
from cgt_tf.networks.weights import select_variables
from cgt_tf.runs.handles import is_handle, load_source
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.runs.snapshots import open_snapshot
from cgt_tf.training.strategy import create_strategy


@dataclasses.dataclass
class Session:
    """A training's config come to life: strategy, data, and the networks that the method built."""

    config: Config
    strategy: tf.distribute.Strategy
    method: TransferMethod
    networks: Networks
    train_images: ImageSet
    heldout: ImageSet | None
    sources: Sequence[Gan]

    @classmethod
    def create(cls, config: Config) -> "Session":
        """Builds the networks and reads the images of a validated config."""
        keras.utils.set_random_seed(config.seed)
        if config.training.deterministic:
            tf.config.experimental.enable_op_determinism()
        strategy = create_strategy(config.training.strategy, config.training.batch_size)
        method = create_method(config)
        with strategy.scope(), compute_in(config.training.precision):
            discriminator = config.discriminator.source or None
            sources = tuple(load_source(x, discriminator) for x in method.source_handles)
            resolution = sources[0].spec.resolution if sources else config.model.resolution
            train_images, heldout = load_data(config, resolution)
            target = DataSpec(train_images.class_names, resolution)
            networks = method.build(sources, target)
        return cls(config, strategy, method, networks, train_images, heldout, sources)

    def summary(self) -> str:
        """Class map and parameter counts, for `--dry_run` and the log."""
        names = self.networks.class_names
        lines = ["class map (label, images, name):"]
        counts = np.bincount(self.train_images.labels, minlength=len(names))
        for label, (name, count) in enumerate(zip(names, counts, strict=True)):
            lines.append(f"  {label:4d} {count:6d}  {name}")
        heldout = (
            f"{self.heldout.name}, {len(self.heldout.labels)} images" if self.heldout else None
        )
        lines.append(f"training images: {self.train_images.name}, {sum(counts)}")
        lines.append(f"held-out images: {heldout or 'none; scores use the training images'}")
        lines.append(f"discriminator: {self.method.discriminator_origin(self.sources)}")
        stages = self.method.stages(self.networks)
        for stage in stages:
            if len(stages) > 1:
                lines.append(f"stage {stage.name}, {stage.steps} steps:")
            lines += self._trained(stage)
        lines.append(f"export: {self._exported()}")
        return "\n".join(lines)

    def _trained(self, stage: Stage) -> list[str]:
        """What a stage trains of each network; networks made of the images are not there yet."""
        lines = []
        for name, network in self.networks.named.items():
            trainable = network.trainable_variables
            parts = [t for phase in stage.phases for t in phase.trained if t.network == name]
            trained = [v for part in parts for v in select_variables(trainable, part.patterns)]
            size, trained_size = _size(trainable), _size(trained)
            lines.append(
                f"{name}: {trained_size:,} parameters trained in {len(trained)} variables, "
                f"{size - trained_size:,} frozen"
            )
        return lines

    def _exported(self) -> str:
        new = f"{len(self.networks.class_names)} new"
        if not self.method.keeps_old_classes:
            note = self.method.export_note(self.networks)
            return f"the {new} classes only" + (f", {note}" if note else "")
        each = parameters_per_class(self.networks.generator)
        return (
            f"{len(self.sources[0].class_names)} old classes, which stay as they are, and {new}, "
            f"{each:,} parameters each"
        )


def load_data(config: Config, resolution: int) -> tuple[ImageSet, ImageSet | None]:
    """The few-shot training images and the held-out ones of a config."""
    data = config.data
    sets = load_train_and_heldout(
        data.train,
        resolution=resolution,
        classes=data.classes,
        images_per_class=data.images_per_class,
        seed=config.seed if data.draw_seed < 0 else data.draw_seed,
        cache_dir=data.cache_dir or None,
        heldout_spec=data.heldout,
        memory_gb=data.memory_gb,
    )
    if not data.unlabelled:
        return sets
    train, heldout = sets
    return train.without_labels(), heldout and heldout.without_labels()


@dataclasses.dataclass(frozen=True)
class Sampler:
    """Samples of a run or of a SavedModel.

    Attributes:
        class_names: all classes, in label order.
        new_classes: the ones a run has learnt; all of a SavedModel.
        resolution: side of the images, in pixels.
        sample: labels int64 [n], seeds int64 [n], truncation -> images uint8 [n, R, R, 3].
    """

    class_names: list[str]
    new_classes: Sequence[str]
    resolution: int
    sample: Callable


def open_sampler(model: str, checkpoint: str) -> Sampler:
    """A run's old and new classes at a checkpoint, a SavedModel, or a source by its handle."""
    if is_handle(model):
        gan = load_source(model)
        return _sampler(extended_from(gan), gan.class_names)
    if not RunDir(model).exists:
        served = load_saved_model(model)
        return Sampler(served.class_names, served.class_names, served.resolution, served.sample)
    snapshot = open_snapshot(model, checkpoint)
    return _sampler(snapshot.extended(), snapshot.new_classes)


def _sampler(extended: ExtendedGenerator, new_classes: Sequence[str]) -> Sampler:
    @tf.function(autograph=False)
    def images(labels, seeds, truncation):
        z = latents_from_seeds(seeds, extended.spec.dim_z, truncation)
        return to_uint8(extended(z, labels, truncation))

    def sample(labels, seeds, truncation):
        return images(tf.constant(labels), tf.constant(seeds), truncation).numpy()

    return Sampler(extended.class_names, new_classes, extended.spec.resolution, sample)


def _size(variables) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)
