"""Networks of a run: built from its config, and read back from its checkpoints."""

import dataclasses

from cgt_tf.config import Config
from cgt_tf.errors import InputError
from cgt_tf.importers.imported import Imported
from cgt_tf.importers.registry import load_source
from cgt_tf.methods.base import DataSpec, TransferMethod
from cgt_tf.methods.registry import create_method
from cgt_tf.models.gan import Gan
from cgt_tf.training.run_dir import RunDir
from cgt_tf.training.state import TrainState


def read_source(config: Config) -> Gan | None:
    """The source GAN of a config; None for a method that has none."""
    if config.method.name == "scratch":
        return None
    return load_source(config.source, config.discriminator.source or None)


@dataclasses.dataclass
class SavedRun:
    """A run's networks with the averaged weights of a checkpoint.

    Attributes:
        run: the run's directory.
        config: its config.
        method: the method that built the networks.
        gan: the networks, of the new classes.
        step: of the checkpoint.
    """

    run: RunDir
    config: Config
    method: TransferMethod
    gan: Gan
    step: int

    @classmethod
    def open(cls, directory: str, checkpoint: str = "best") -> "SavedRun":
        """Reads a run.

        Args:
            directory: of a run of `cgt-train`.
            checkpoint: `best` (lowest FID), `last`, or a step.

        Raises:
            InputError: no run, no such checkpoint, or a source that is gone.
        """
        run = RunDir(directory)
        config = run.load_config()
        step = run.resolve_checkpoint(checkpoint)
        method = create_method(config)
        # In the scope of the caller's strategy, which has no other inside it.
        source = read_source(config)
        resolution = source.spec.resolution if source else config.model.resolution
        gan = method.build(source, DataSpec(run.class_names(), resolution))
        restore(run, step, method, gan, config)
        return cls(run, config, method, gan, step)

    def as_source(self) -> Gan:
        """Old and new classes in one GAN, for further transfers."""
        return self.method.as_source(self.gan)

    def provenance(self) -> dict:
        """Where the weights come from, as JSON."""
        return {
            "run": self.run.path.name,
            "step": self.step,
            "generator_average": self.config.training.ema_decay,
            "config": dataclasses.asdict(self.config),
        }


def restore(run: RunDir, step: int, method: TransferMethod, gan: Gan, config: Config) -> None:
    """Puts a checkpoint's weights into the networks, the generator's averaged."""
    (stage,) = method.stages()
    state = TrainState(gan, stage, config)
    state.restore(run.checkpoint_path(step))
    if state.average:
        state.average.overwrite()


def read_run(directory: str, bn_eps: float | None = None, sn_eps: float | None = None) -> Imported:
    """A run's best checkpoint as a source.

    Raises:
        InputError: no run with a checkpoint, or epsilons, which are part of what was trained.
    """
    if bn_eps is not None or sn_eps is not None:
        raise InputError("expected run:<dir> without bn_eps or sn_eps: a run keeps its own")
    saved = SavedRun.open(directory)
    gan = saved.as_source()
    return Imported(
        gan.spec,
        gan.generator,
        gan.discriminator,
        gan.class_names,
        notes=[f"step {saved.step} of the run, the averaged generator"],
        provenance=saved.provenance(),
    )
