"""The networks of a run, by name."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cgt_tf.networks.gan import Gan
    from cgt_tf.networks.spec import GanSpec


@dataclasses.dataclass
class Networks:
    """The networks of a run, by name.

    Attributes:
        spec: Spec of generator and discriminator.
        class_names: Class names of the new classes, in label order.
        generator: See `networks.biggan`.
        discriminator: See `networks.discriminator`; None for methods without one.
        others: Further Keras layers with variables, e.g. a miner, a hypernetwork, codes of images.
            Like the first two they are trained and saved; they must be built.
        teachers: Frozen networks that losses look at; neither trained nor saved.
    """

    spec: GanSpec
    class_names: list[str]
    generator: Any
    discriminator: Any = None
    others: dict[str, Any] = dataclasses.field(default_factory=dict)
    teachers: dict[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, gan: Gan, **others: Any) -> Networks:
        """The networks of a GAN, and others by name."""
        return cls(gan.spec, gan.class_names, gan.generator, gan.discriminator, others)

    @property
    def named(self) -> dict[str, Any]:
        """All networks that a run saves, by name."""
        both = {"generator": self.generator, "discriminator": self.discriminator}
        return {**{k: v for k, v in both.items() if v is not None}, **self.others}

    def gan(self) -> Gan:
        """Generator and discriminator alone."""
        from cgt_tf.networks.gan import Gan

        return Gan(self.spec, self.generator, self.discriminator, self.class_names)

    def __getitem__(self, name: str) -> Any:
        if name in self.teachers:
            return self.teachers[name]
        return self.named[name]
