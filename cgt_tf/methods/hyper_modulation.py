"""Hyper-Modulation (hecoding/Hyper-Modulation): a source's kernels, modulated for each new class.

An unconditional source becomes conditional. Its weights stay as they are. A task network makes a
vector t of each new class, and linear heads make of t what the class does to the 3x3 kernels of the
generator's blocks, standardised: W_c = k (gamma_c W~ + beta_c), and to their biases; see
`layers.modulation`. Trained are the heads, the task network, and the discriminator but for what
meets the image first.

As published: task network, standardisation, modulation and its order of factors, full heads
(`rank=0`), self-initialisation without data (the modulated blocks learn to give the source's
outputs, L1; then all classes start alike), softplus losses with R1, a linear head a class in the
discriminator (`head=multi_head`), a contrastive loss on its features, Adam (0, 0.99) and learning
rates; `configs/faithful/hyper_modulation.flags` has them. It was published on StyleGAN1.

On a BigGAN, ours:
  - The source. One of one class is unconditional as it is (`--config.data.unlabelled`). Of a
    conditional one, the old class is part of the latent, k = floor(N frac(997 z_0)), which samples
    its classes uniformly, whatever the new class; interpolating z switches k on the way.
  - Modulated are the effective kernels, spectral norms divided out once. The classes' norms, 1x1
    shortcuts, attention, first linear layer and last convolution stay frozen.
  - Batch norms have the source's running statistics in the self-initialisation; in transfer they
    are in training, starting from the source's.
  - Heads of low rank (default): r + 1 convolutions in place of a kernel for each sample. They start
    at the source exactly, so that the self-initialisation has nothing to learn.
  - Biases are b + B_c; the published ones, b standardised + B_c, are `bias=standardised`.
  - Noise in the classes' rows (`class_noise`), so that they differ from the first step: the heads
    are common to all and alike classes separate through the task network's table alone, slowly.
  - The discriminator's class head is spectrally normalised and has no bias. Frozen of it, in place
    of the from-RGB layers: the first convolution and shortcut of its first block.
  - Labels of generated images are uniform (theirs: the real batch's); no style mixing.

The old classes are not kept. What is exported has factors for each new class, or with
`fold_kernels`, and of full heads always, kernels.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from cgt_tf.config import Config, knob
from cgt_tf.config_checks import at_least, one_of
from cgt_tf.errors import InputError
from cgt_tf.methods.base import DataSpec, TransferMethod
from cgt_tf.methods.phases import Adam, Microbatch, Phase, Stage, Terms, Trained
from cgt_tf.methods.run_networks import Networks

if TYPE_CHECKING:
    from cgt_tf.networks.extended import ExtendedGenerator
    from cgt_tf.networks.gan import Gan

_LOSSES = ("hinge", "softplus")
_STARTS = ("identity", "normal")
_BIASES = ("source", "standardised")
# Of the task network in the self-initialisation, as published.
_ALIGNMENT_FACTOR = 0.01
# The discriminator's outputs that enter the loss, by the name of the knob.
_HEADS = {"projection": "logits", "multi_head": "projection"}
_HEAD_PATTERN = r"block_\d+/conv\d/\w+_head/.*"
_FROM_RGB = ("block_0/conv1", "block_0/shortcut")


@dataclasses.dataclass(kw_only=True)
class HyperModulationSettings:
    """`generator` has the learning rate of the heads."""

    rank: int = knob(4, "rank of the heads; 0: full heads, as published")
    start: str = knob("identity", "of the heads: identity (the source), or normal as published")
    bias: str = knob("source", "what a class' offset is added to: source, or standardised")
    task_width: int = knob(64, "width of the task vectors")
    task_lr_factor: float = knob(0.01, "task network: times the generator's rate; published: 0.001")
    class_noise: float = knob(0.05, "noise on the classes' rows, which start alike; published: 0")
    self_initialisation_steps: int = knob(
        0, "first stage, without data; there is nothing to learn after an identity start"
    )
    loss: str = knob("hinge", "hinge, or softplus as published")
    head: str = knob("projection", "of D: projection, or multi_head as published")
    freeze_first: bool = knob(True, "whether D's first convolution and shortcut stay the source's")
    contrastive: float = knob(0.0, "weight of the loss on D's features; published: 0.01")
    fold_kernels: bool = knob(False, "export kernels of each class in place of factors")

    def check(self, config: Config) -> None:
        """Raises InputError for values out of their range."""
        name = config.method.name
        for field in ("rank", "task_lr_factor", "class_noise", "contrastive"):
            at_least(f"{name}.{field}", getattr(self, field), 0)
        at_least(f"{name}.self_initialisation_steps", self.self_initialisation_steps, 0)
        at_least(f"{name}.task_width", self.task_width, 1)
        one_of(f"{name}.start", self.start, _STARTS)
        one_of(f"{name}.bias", self.bias, _BIASES)
        one_of(f"{name}.loss", self.loss, _LOSSES)
        one_of(f"{name}.head", self.head, tuple(_HEADS))


class HyperModulation(TransferMethod):
    """Modulates the source's kernels for each new class."""

    Settings: ClassVar[type] = HyperModulationSettings
    ema_networks: ClassVar[tuple[str, ...]] = ("generator", "task_net")

    def build(self, sources: Sequence["Gan"], target: DataSpec) -> Networks:
        from cgt_tf.methods import hyper_networks, transfer

        (source,) = sources
        settings, count = self.settings, len(target.class_names)
        if not count:
            raise InputError("expected at least one new class, got none")
        transfer.check_transfer(source, target)
        self._frozen = _FROM_RGB if settings.freeze_first and source.discriminator else ()
        teacher = hyper_networks.folded_source(source, self.config.source_truncation)
        spec = hyper_networks.modulated_spec(teacher.spec, count, settings.rank)
        discriminator = transfer.transferred_discriminator(source, spec, self.config)
        generator = hyper_networks.create_modulated(
            teacher,
            spec,
            rank=settings.rank,
            width=settings.task_width,
            identity=settings.start == "identity",
            standardised_bias=settings.bias == "standardised",
        )
        task_network = hyper_networks.create_task_network(
            count, settings.task_width, settings.class_noise, self.config.seed
        )
        return Networks(
            spec,
            list(target.class_names),
            generator,
            discriminator,
            {"task_net": task_network},
            {"source": teacher} if settings.self_initialisation_steps else {},
        )

    def stages(self, networks: Networks) -> tuple[Stage, ...]:
        from cgt_tf.methods.adversarial import Adversarial
        from cgt_tf.methods.contrastive import discriminator_term
        from cgt_tf.methods.objectives import create_loss

        settings = self.settings
        weight = settings.contrastive
        adversarial = Adversarial(
            self.config,
            loss=create_loss(self.config.training, settings.loss, _HEADS[settings.head]),
            generate=_generate,
            frozen_layers=self._frozen,
            discriminator_terms=discriminator_term(weight) if weight else None,
        )
        transfer = adversarial.single_stage("transfer", self._trained(settings.task_lr_factor))
        if not settings.self_initialisation_steps:
            return transfer

        def begin():
            from cgt_tf.methods.hyper_networks import spread_classes

            spread_classes(networks["task_net"], settings.class_noise, self.config.seed)

        phase = Phase("align", self._trained(_ALIGNMENT_FACTOR), _align, images=False)
        first = Stage("self_initialisation", settings.self_initialisation_steps, (phase,))
        return (first, dataclasses.replace(transfer[0], begin=begin), *transfer[1:])

    def _trained(self, factor: float) -> tuple[Trained, ...]:
        """Heads and task network, whose learning rate is so many times that of the heads."""
        heads = Adam.of(self.config.generator)
        task = dataclasses.replace(heads, learning_rate=factor * heads.learning_rate)
        return Trained("generator", heads, (_HEAD_PATTERN,)), Trained("task_net", task)

    def extended(self, networks: Networks) -> "ExtendedGenerator":
        from cgt_tf.methods.hyper_networks import extended_modulated

        return extended_modulated(networks, self.settings.fold_kernels)

    def export_note(self, networks: Networks) -> str:
        from cgt_tf.methods.modulation_counts import ModulationCounts

        counts, rank = ModulationCounts.of(networks.spec), self.settings.rank
        kernels = counts.kernels + counts.biases
        if not rank:
            return f"{kernels:,} numbers of kernels each"
        sizes = (
            f"{counts.outputs(rank):,} numbers of factors each and {counts.constants:,} for all",
            f"{kernels:,} numbers of kernels each",
        )
        taken, other = reversed(sizes) if self.settings.fold_kernels else sizes
        return f"{taken} (with fold_kernels={not self.settings.fold_kernels}: {other})"


def _generate(p: Microbatch, z, classes, training: bool):
    from cgt_tf.networks.conditioning import class_weights

    t = p.networks["task_net"](class_weights(classes, p.networks.spec.num_classes))
    return p.networks.generator(z, t, training=training)


def _align(p: Microbatch) -> Terms:
    """The self-initialisation's loss, of the first class; both with the source's statistics."""
    from keras import ops

    from cgt_tf.methods.hyper_networks import alignment

    spec, generator = p.networks.spec, p.networks.generator
    z, labels = p.draws.latents(spec.dim_z, spec.num_classes)
    t = p.networks["task_net"](ops.one_hot(ops.zeros_like(labels), spec.num_classes))
    _, ours = generator(z, t, training=False)
    _, old = generator.miner(z, None)
    _, theirs = p.networks["source"](z, old, training=False)
    parts = alignment(ours, theirs)
    return Terms(parts, {"loss": sum(parts.values())})
