"""A generator and its discriminator with what names and shapes them."""

import dataclasses

import numpy as np

from cgt_tf.errors import InputError
from cgt_tf.models.biggan import Discriminator, Generator
from cgt_tf.models.spec import GanSpec


@dataclasses.dataclass
class Gan:
    """A generator with its spec, class names, and a discriminator where one is at hand.

    Attributes:
        spec: shape of both networks.
        generator: see `models.biggan.Generator`; `gan.generator(z, labels)` -> (images, endpoints).
        discriminator: see `models.biggan.Discriminator`, or None.
        class_names: one name for each class, in label order.
    """

    spec: GanSpec
    generator: Generator
    discriminator: Discriminator | None
    class_names: list[str]

    def __post_init__(self):
        if len(self.class_names) != self.spec.num_classes:
            raise InputError(
                f"expected {self.spec.num_classes} class names, one a class of the spec, "
                f"got {len(self.class_names)}"
            )


def build_networks(*networks):
    """Creates the variables of networks by running each once on two dummy samples."""
    for network in networks:
        spec = network.spec
        labels = np.zeros(2, np.int32)
        if isinstance(network, Generator):
            domains = network.output_norm.domains
            extra = {"domains": np.ones((2, domains), np.float32) / domains} if domains else {}
            network(np.zeros((2, spec.dim_z), np.float32), labels, **extra)
        else:
            network(np.zeros((2, spec.resolution, spec.resolution, 3), np.float32), labels)


def create_gan(
    spec: GanSpec, class_names: list[str], *, fused: bool = True, embedding_gain: float = 1.0
) -> Gan:
    """A freshly initialised GAN of a spec; see `Generator` for the options."""
    generator = Generator(spec, fused=fused, embedding_gain=embedding_gain)
    discriminator = Discriminator(spec, fused=fused)
    build_networks(generator, discriminator)
    return Gan(spec, generator, discriminator, list(class_names))
