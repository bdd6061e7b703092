"""What the commands share: from a config to networks and data."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from cgt_tf.config import Config
from cgt_tf.data.image_set import ImageSet
from cgt_tf.data.pipeline import to_uint8
from cgt_tf.data.sources import load_train_and_heldout
from cgt_tf.export.saved_model import load_saved_model
from cgt_tf.export.serving import latents_from_seeds
from cgt_tf.importers.registry import is_handle, load_source
from cgt_tf.methods.base import DataSpec, TransferMethod, select_variables
from cgt_tf.methods.registry import create_method
from cgt_tf.models.fold import ExtendedGenerator, parameters_per_class
from cgt_tf.models.gan import Gan
from cgt_tf.training.run_dir import RunDir
from cgt_tf.training.saved_run import SavedRun, read_source, restore
from cgt_tf.training.strategy import create_strategy


@dataclasses.dataclass
class Session:
    """A config come to life: strategy, data, and the networks that the method built."""

    config: Config
    strategy: tf.distribute.Strategy
    method: TransferMethod
    gan: Gan
    train_images: ImageSet | None
    heldout: ImageSet | None
    source: Gan | None

    @classmethod
    def create(cls, config: Config, class_names: tuple[str, ...] | None = None) -> "Session":
        """Builds everything; with `class_names` the networks alone, without reading images."""
        keras.utils.set_random_seed(config.seed)
        if config.training.deterministic:
            tf.config.experimental.enable_op_determinism()
        strategy = create_strategy(config.training.strategy, config.training.batch_size)
        method = create_method(config)
        with strategy.scope():
            source = read_source(config)
            resolution = source.spec.resolution if source else config.model.resolution
            train_images = heldout = None
            if class_names is None:
                train_images, heldout = load_data(config, resolution)
                class_names = train_images.class_names
            gan = method.build(source, DataSpec(class_names, resolution))
        if config.method.start and train_images is not None:
            start = SavedRun.open(config.method.start, config.method.start_checkpoint)
            method.continue_from(gan, start.gan)
        return cls(config, strategy, method, gan, train_images, heldout, source)

    def _discriminator_origin(self) -> str:
        config = self.config.discriminator
        if self.gan.discriminator is None:
            return "none, the method needs none"
        if self.config.method.start:
            return f"that of {self.config.method.start}, class table included"
        if self.config.method.name == "scratch":
            return "trained from random initialisation"
        warm_up = f", {config.warmup_steps} steps alone first" if config.warmup_steps else ""
        if config.source:
            return f"{config.source}, made for another generator's images, new class table{warm_up}"
        if self.source.discriminator is not None:
            return f"the source's own, new class table{warm_up}"
        return (
            f"a fresh one, as the source has none{warm_up}; it starts without any knowledge of "
            "images, so expect slower and less stable learning than with a pretrained one"
        )

    def restore(self, run: RunDir, which: str) -> int:
        """Puts a checkpoint's averaged generator into the networks; returns its step."""
        step = run.resolve_checkpoint(which)
        with self.strategy.scope():
            restore(run, step, self.method, self.gan, self.config)
        return step

    def summary(self) -> str:
        """Class map and parameter counts, for `--dry_run` and the log."""
        (stage,) = self.method.stages()
        lines = ["class map (label, images, name):"]
        counts = np.bincount(self.train_images.labels, minlength=len(self.gan.class_names))
        for label, (name, count) in enumerate(zip(self.gan.class_names, counts, strict=True)):
            lines.append(f"  {label:4d} {count:6d}  {name}")
        heldout = (
            f"{self.heldout.name}, {len(self.heldout.labels)} images" if self.heldout else None
        )
        lines.append(f"training images: {self.train_images.name}, {sum(counts)}")
        lines.append(f"held-out images: {heldout or 'none; scores use the training images'}")
        lines.append(f"discriminator: {self._discriminator_origin()}")
        for network, patterns in (
            (self.gan.generator, stage.generator),
            (self.gan.discriminator, stage.discriminator),
        ):
            if network is None:
                continue
            trainable = network.trainable_variables
            trained = select_variables(trainable, patterns)
            trained_size, size = _size(trained), _size(trainable)
            lines.append(
                f"{network.name}: {trained_size:,} parameters trained in {len(trained)} variables, "
                f"{size - trained_size:,} frozen"
            )
        lines.append(f"export: {self._exported()}")
        return "\n".join(lines)

    def _exported(self) -> str:
        new = f"{len(self.gan.class_names)} new"
        if not self.method.keeps_old_classes:
            return f"the {new} classes only"
        each = parameters_per_class(self.gan.generator)
        return (
            f"{len(self.source.class_names)} old classes, which stay as they are, and {new}, "
            f"{each:,} parameters each"
        )


def load_data(config: Config, resolution: int) -> tuple[ImageSet, ImageSet | None]:
    """The few-shot training images and the held-out ones of a config."""
    data = config.data
    return load_train_and_heldout(
        data.train,
        resolution=resolution,
        classes=data.classes,
        images_per_class=data.images_per_class,
        seed=config.seed,
        cache_dir=data.cache_dir or None,
        heldout_spec=data.heldout,
    )


@dataclasses.dataclass(frozen=True)
class Sampler:
    """Samples of a run or of a SavedModel.

    Attributes:
        class_names: all classes, in label order.
        new_classes: the ones a run has learnt; all of a SavedModel.
        sample: labels int64 [n], seeds int64 [n], truncation -> images uint8 [n, R, R, 3].
    """

    class_names: list[str]
    new_classes: list[str]
    sample: Callable


def open_sampler(model: str, checkpoint: str) -> Sampler:
    """A run's old and new classes at a checkpoint, a SavedModel, or a source by its handle."""
    if is_handle(model):
        gan = load_source(model)
        return _sampler(ExtendedGenerator([gan.generator], [gan.class_names]), gan.class_names)
    if not RunDir(model).exists:
        served = load_saved_model(model)
        return Sampler(served.class_names, served.class_names, served.sample)
    run = SavedRun.open(model, checkpoint)
    return _sampler(run.method.extended(run.gan), run.gan.class_names)


def _sampler(extended: ExtendedGenerator, new_classes: list[str]) -> Sampler:
    @tf.function(autograph=False)
    def images(labels, seeds, truncation):
        z = latents_from_seeds(seeds, extended.spec.dim_z, truncation)
        return to_uint8(extended(z, labels, truncation))

    def sample(labels, seeds, truncation):
        return images(tf.constant(labels), tf.constant(seeds), truncation).numpy()

    return Sampler(extended.class_names, new_classes, sample)


def _size(variables) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)
