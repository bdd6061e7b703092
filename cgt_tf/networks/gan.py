"""A generator and its discriminator with what names and shapes them."""

import dataclasses

from cgt_tf.errors import InputError
from cgt_tf.networks.biggan import BaseGenerator, Generator
from cgt_tf.networks.biggan_deep import DeepGenerator
from cgt_tf.networks.discriminator import Discriminator
from cgt_tf.networks.mined import AffineMiner, SelectedMiner
from cgt_tf.networks.modulated import OldClasses, modulated_conv
from cgt_tf.networks.selected import SelectedGenerator
from cgt_tf.networks.spec import GanSpec


@dataclasses.dataclass
class Gan:
    """A generator with its spec, class names, and a discriminator where one is at hand.

    Attributes:
        spec: Shape of both networks.
        generator: See `networks.biggan`; `gan.generator(z, labels)` -> (images, endpoints).
        discriminator: See `networks.discriminator`, or None.
        class_names: One name for each class, in label order.
        provenance: JSON of where the weights come from, where that is known.
    """

    spec: GanSpec
    generator: BaseGenerator
    discriminator: Discriminator | None
    class_names: list[str]
    provenance: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if len(self.class_names) != self.spec.num_classes:
            raise InputError(
                f"expected {self.spec.num_classes} class names, one a class of the spec, "
                f"got {len(self.class_names)}"
            )


def create_generator(spec: GanSpec, **options) -> BaseGenerator | SelectedGenerator:
    """The generator of a spec's architecture and wrapper, built; see `BaseGenerator`'s options."""
    generator = _unbuilt(spec, options)
    generator.build((None, spec.dim_z))
    return generator


def _unbuilt(spec: GanSpec, options: dict) -> BaseGenerator | SelectedGenerator:
    """Not built, as the members of another one get their variables' paths when that is built."""
    if spec.wrapper == "selected":
        specs = enumerate(spec.member_specs)
        members = [_unbuilt(s, {**options, "name": f"member_{i}"}) for i, s in specs]
        return SelectedGenerator(spec, members)
    options = dict(options)
    if spec.wrapper == "mined":
        miner = SelectedMiner if spec.members else AffineMiner
        options.setdefault("miner", miner(spec, name="miner"))
    if spec.wrapper == "modulated":
        options.setdefault("conv", modulated_conv(spec))
        if spec.table_classes:
            options.setdefault("miner", OldClasses(spec.table_classes, name="old_classes"))
    return (DeepGenerator if spec.deep else Generator)(spec, **options)


def create_discriminator(spec: GanSpec, **options) -> Discriminator:
    """The discriminator of a spec, built; see `Discriminator` for the options."""
    discriminator = Discriminator(spec, **options)
    discriminator.build((None, spec.resolution, spec.resolution, 3))
    return discriminator


def create_gan(
    spec: GanSpec, class_names: list[str], *, fused: bool = True, embedding_gain: float = 1.0
) -> Gan:
    """A freshly initialised GAN of a spec; see `BaseGenerator` for the options."""
    generator = create_generator(spec, fused=fused, embedding_gain=embedding_gain)
    return Gan(spec, generator, create_discriminator(spec, fused=fused), list(class_names))
