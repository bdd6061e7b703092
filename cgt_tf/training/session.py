"""A training's config come to life: strategy, data, and the networks that its method builds."""

import dataclasses
import os
import random
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from cgt_tf.config import Config
from cgt_tf.data.few_shot import load_data
from cgt_tf.data.image_set import ImageSet
from cgt_tf.layers.mixed import compute_in
from cgt_tf.methods.base import DataSpec, TransferMethod
from cgt_tf.methods.phases import Stage
from cgt_tf.methods.registry import create_method
from cgt_tf.methods.run_networks import Networks
from cgt_tf.networks.fold import parameters_per_class
from cgt_tf.networks.gan import Gan
from cgt_tf.networks.weights import select_variables
from cgt_tf.runs.handles import load_source
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.training.loop import Evaluate, TrainingRun
from cgt_tf.training.stopping import StopSignals
from cgt_tf.training.strategy import create_strategy, is_chief


@dataclasses.dataclass
class Session:
    """What a training works with.

    Attributes:
        config: Validated.
        strategy: Strategy that the networks were built under.
        method: Method of the config.
        networks: Networks that the method built for the classes of the images.
        train_images, heldout: See `data.few_shot.load_data`.
        sources: The GANs that are transferred.
    """

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
            # Keras draws its seeds from `random`, and so does TFDS, but only when it prepares a
            # dataset; the networks are the same whether or not it was there.
            state = random.getstate()
            train_images, heldout = load_data(config, resolution)
            random.setstate(state)
            target = DataSpec(train_images.class_names, resolution)
            networks = method.build(sources, target)
        return cls(config, strategy, method, networks, train_images, heldout, sources)

    def train(self, workdir: str, evaluate: Evaluate | None) -> RunDir:
        """Trains in a run's directory; goes on from its newest checkpoint where there is one.

        Args:
            workdir: New, or that of the run.
            evaluate: Scores on the schedule of the config, or None.

        Raises:
            InputError: the directory is another run's, or in use.
            DivergedError: a loss or a weight was not finite, and the config says stop.
            StoppedError: a signal asked to stop; the step is saved.
        """
        run = RunDir(workdir, is_chief(self.strategy))
        training = self.training(run, evaluate)
        # After all that bad input can stop, so that nothing is written then.
        with run.locked(), StopSignals() as signals:
            last = training.spans[-1].last
            run.open(self.config, self.networks.class_names, self.train_images, last)
            run.append_log(self.summary())
            training.train(signals)
        return run

    def training(self, run: RunDir, evaluate: Evaluate | None = None) -> TrainingRun:
        """All that `train` does, made ready and not begun; nothing is written to the directory."""
        return TrainingRun(
            self.config,
            run,
            self.strategy,
            self.method,
            self.networks,
            self.train_images,
            evaluate,
            [gan.provenance for gan in self.sources],
        )

    def summary(self) -> str:
        """Class map and facts, for the log."""
        return f"{self.class_map()}\n{self.facts()}"

    def class_map(self) -> str:
        """Each new class with its images and its label in samples and exports; old ones in sum."""
        names = self.networks.class_names
        old = len(self.sources[0].class_names) if self.method.keeps_old_classes else 0
        counts = np.bincount(self.train_images.labels, minlength=len(names))
        lines = [f"class map of {len(names)} new classes:"]
        for label, (name, count) in enumerate(zip(names, counts, strict=True), old):
            lines.append(f"  {name} -> {count} images, label {label}")
        if self.sources:
            kept = f"{old}, which keep the labels 0 to {old - 1}" if old else "none is kept"
            lines.append(f"  old classes: {kept}")
        return "\n".join(lines)

    def facts(self) -> str:
        """Machine, images, parameter counts of all stages, and what an export will hold."""
        heldout = (
            f"{self.heldout.name}, {len(self.heldout.labels)} images" if self.heldout else None
        )
        lines = [f"computed by: {_machine()}, {self.config.training.precision}"]
        lines.append(f"training images: {self.train_images.name}, {len(self.train_images)}")
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


def _machine() -> str:
    """TensorFlow's version, and the devices that it sees."""
    kinds = [device.device_type for device in tf.config.list_physical_devices()]
    devices = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    return f"TensorFlow {tf.__version__} on {devices} ({os.cpu_count()} threads)"


def _size(variables) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)
