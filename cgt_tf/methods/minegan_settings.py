"""Knobs of minegan, and what its sources are called."""

import dataclasses
from collections.abc import Iterator, Sequence

from cgt_tf.config import Config, knob
from cgt_tf.config_checks import at_least, one_of
from cgt_tf.errors import InputError

_CHOICES = {
    "classes": ("per_class", "miners_shared_g", "conditional", "pooled"),
    "start": ("default", "orthogonal", "identity"),
    "class_start": ("mean_old", "nearest"),
    "statistics": ("source", "batch"),
    "loss": ("softplus", "hinge"),
    "head": ("logits", "unconditional", "projection"),
    "selector": ("classifier", "frequency"),
}
# Names of the generator and of the miner of each that competes.
Branches = Sequence[tuple[str, str]]
_SEPARATE = ("per_class", "miners_shared_g")


@dataclasses.dataclass(kw_only=True)
class MineGANSettings:
    """The miner, its losses, and several sources."""

    classes: str = knob(
        "miners_shared_g", "a miner a class; per_class: of one class alone; conditional; pooled"
    )
    start: str = knob("identity", "of the miner; default: as released; orthogonal: as announced")
    class_start: str = knob("mean_old", "with start=identity: class vectors; or nearest old ones")
    nearest_classes: int = knob(5, "old classes that class_start=nearest takes the mean of")
    relu: bool = knob(False, "between the miner's layers; the released one has none")
    spectral_norm: bool = knob(True, "spectral norms in the miner's layers")
    mine_steps: int = knob(300, "steps of the first stage, with the generator frozen; 0: without")
    statistics: str = knob("source", "of the first stage's norms; batch: as released")
    miner_learning_rate: float = knob(0.0, "learning rate of the miner; 0: the generator's")
    loss: str = knob("softplus", "or hinge")
    head: str = knob("logits", "of D: all; unconditional: as released; projection: one a class")
    sources: tuple[str, ...] = knob((), "handles of several source GANs; empty: --config.source")
    old_classes: int = knob(0, "compete so many old classes of one source; 0: class is mined too")
    selector: str = knob("classifier", "of several; frequency: how often each won, by class")
    selector_start: int = knob(1000, "step of the run at which the classifier starts to learn")
    selector_learning_rate: float = knob(1e-4, "learning rate of the selector")

    def check(self, config: Config) -> None:
        """Raises InputError for values out of their range, or that exclude each other."""
        name = config.method.name
        for field, choices in _CHOICES.items():
            one_of(f"{name}.{field}", getattr(self, field), choices)
        for field in ("mine_steps", "miner_learning_rate", "old_classes"):
            at_least(f"{name}.{field}", getattr(self, field), 0)
        for field in ("selector_start", "selector_learning_rate"):
            at_least(f"{name}.{field}", getattr(self, field), 0)
        at_least(f"{name}.nearest_classes", self.nearest_classes, 1)
        if self.old_classes:
            at_least(f"{name}.old_classes", self.old_classes, 2)
        for allowed, message in self._combinations(config):
            if not allowed:
                raise InputError(f"--config.{name}.{message}")

    def _combinations(self, config: Config) -> Iterator[tuple[bool, str]]:
        """Whether values go together, and what is wrong where they do not."""
        identity, nearest = self.start == "identity", self.class_start == "nearest"
        yield not (identity and self.relu), "start=identity needs relu=False, got True"
        yield identity or not nearest, f"class_start=nearest needs start=identity, got {self.start}"
        yield (
            self.classes in _SEPARATE or not nearest,
            f"class_start=nearest needs a miner a class, got classes={self.classes}",
        )
        yield (
            self.classes != "pooled" or self.head == "unconditional",
            f"classes=pooled has no labels and needs head=unconditional, got {self.head}",
        )
        yield (
            not (self.old_classes and len(self.sources) > 1),
            f"old_classes needs one source, got {len(self.sources)}",
        )
        yield (
            not (self.old_classes and nearest),
            "class_start=nearest needs mined class vectors, which those of old_classes are not",
        )
        yield (
            not (config.training.ramp_end and config.training.ramp_generator),
            "classes cannot be ramped in a miner: --config.training.ramp_generator=False is needed",
        )
