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

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from cgt_tf.methods.base import DataSpec, TransferMethod
from cgt_tf.methods.minegan_settings import Branches, MineGANSettings
from cgt_tf.methods.phases import Adam, Phase, Stage, Trained
from cgt_tf.methods.run_networks import Networks

if TYPE_CHECKING:
    from cgt_tf.networks.extended import ExtendedGenerator
    from cgt_tf.networks.gan import Gan


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
