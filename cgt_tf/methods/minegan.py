"""MineGAN (Wang et al., CVPR 2020): a miner before the generator finds what suits the new classes.

Stage `mine` trains the miner and the discriminator with the generator frozen, stage `joint` all
three. As in the authors' code for BigGAN: two chains of four spectrally normalised linear layers,
of which one mines z and the other the class vector, which takes the place of the class embedding;
softplus losses, and the discriminator's affine head alone (`head=unconditional`). Three starts are
theirs and ours, see `methods.miner.set_start`.

Theirs mines one class in a run (`classes=per_class`). Ours are the others: a miner for each class
before one generator, told apart by the projection discriminator (`miners_shared_g`, the default);
one miner that sees the label (`conditional`); one without labels (`pooled`). Ours is also the
default `statistics=source`: the frozen generator keeps its running statistics, where the released
code normalises each batch of the first stage by its own and overwrites them. Sources without a
shared class embedding have weights of the rows of their class tables mined, as softmax of logits.
Adam starts afresh in the second stage; theirs goes on.

Several sources (`sources`), or several classes of one (`old_classes`, with frozen class vectors),
compete for every sample under one critic, the first source's: the highest logit wins, and only the
winner learns, see `methods.competition`. Which one makes the image of a latent is then learnt by a
classifier, as in the code for MNIST, or follows from how often each won, as in the paper.

The first stage leaves the source's weights alone, the second does not: the old classes are lost,
and the extended generator holds the new ones only.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from cgt_tf.config import Config, knob
from cgt_tf.config_checks import at_least, one_of
from cgt_tf.errors import InputError
from cgt_tf.methods.base import DataSpec, Networks, TransferMethod
from cgt_tf.methods.phases import Adam, Phase, Stage, Trained

if TYPE_CHECKING:
    from cgt_tf.networks.extended import ExtendedGenerator
    from cgt_tf.networks.gan import Gan

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


class MineGAN(TransferMethod):
    """Mines one or several sources with the adversarial loss, then fine-tunes all."""

    Settings: ClassVar[type] = MineGANSettings

    @property
    def source_handles(self) -> tuple[str, ...]:
        return self.settings.sources or (self.config.source,)

    @property
    def branches(self) -> Branches:
        """Generator and miner of each source, or of each old class, that competes."""
        several = [f"_{i}" if i else "" for i in range(self.settings.old_classes)]
        if several:
            return tuple(("generator", f"miner{x}") for x in several)
        several = [f"_{i}" if i else "" for i in range(len(self.source_handles))]
        return tuple((f"generator{x}", f"miner{x}") for x in several)

    @property
    def ema_networks(self) -> tuple[str, ...]:
        names = dict.fromkeys(name for branch in self.branches for name in branch)
        return (*names, "selector") if len(self.branches) > 1 else tuple(names)

    def build(self, sources: Sequence["Gan"], target: DataSpec) -> Networks:
        from cgt_tf.methods import mining

        self._sources = sources
        mining.check_sources(sources, self.source_handles, target, self.settings)
        return mining.build(sources, target, self.config, self.branches)

    def prepare(self, networks: Networks, images) -> None:
        """Chooses old classes for the new ones, where the settings say so."""
        from cgt_tf.methods import mining

        mining.choose_classes(networks, self._sources, images, self.settings, self.branches)

    def stages(self, networks: Networks) -> tuple[Stage, ...]:
        from cgt_tf.methods.adversarial import Adversarial
        from cgt_tf.methods.competition import Competition
        from cgt_tf.methods.objectives import create_loss

        config, settings = self.config, self.settings
        loss = create_loss(config.training, settings.loss, settings.head)
        miner_adam = self._adam(settings.miner_learning_rate or config.generator.learning_rate)
        bodies = dict.fromkeys(generator for generator, _ in self.branches)
        miners = tuple(Trained(miner, miner_adam) for _, miner in self.branches)
        # What a mined vector takes the place of is not used.
        embeds = networks.generator.spec.embeds_vectors
        patterns = (r"(?!class_embedding/).*",) if embeds else (".*",)
        adam = Adam.of(config.generator)
        generators = tuple(Trained(body, adam, patterns) for body in bodies)
        competition = Competition(self.branches, loss, settings)
        select = self._select(competition)

        def stage(name, steps, trained, batch_statistics):
            generate = competition.generate(batch_statistics)
            harness = Adversarial(config, loss=loss, generate=generate)
            phases = (harness.discriminator(), harness.generator(trained, name), *select)
            return Stage(name, steps, phases), harness

        mine, harness = stage("mine", settings.mine_steps, miners, settings.statistics == "batch")
        joint, _ = stage("joint", config.training.steps, (*miners, *generators), True)
        return harness.after_warm_up((mine, joint) if settings.mine_steps else (joint,))

    def _adam(self, learning_rate: float) -> Adam:
        return Adam.of(self.config.generator, learning_rate=learning_rate)

    def _select(self, competition) -> tuple:
        """The phase of the classifier, where there is one."""
        settings = self.settings
        if len(self.branches) == 1 or settings.selector != "classifier":
            return ()
        trained = Trained("selector", self._adam(settings.selector_learning_rate))
        return (Phase("select", (trained,), competition.selector_terms, images=False),)

    def extended(self, networks: Networks) -> "ExtendedGenerator":
        from cgt_tf.methods import mining

        return mining.extended(networks, self.branches)
