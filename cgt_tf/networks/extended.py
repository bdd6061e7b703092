"""The one thing that scoring, sampling and export see of a method: (z, label) -> images."""

import dataclasses
from collections.abc import Callable, Sequence

from keras import ops

from cgt_tf.errors import InputError
from cgt_tf.networks.biggan import BaseGenerator
from cgt_tf.networks.fold import fold_into, folded_generator
from cgt_tf.networks.gan import Gan

# Filters from which upsampling and convolution stay apart. Few images leave the time to reading the
# kernel, of which the fused form has 16/9: from 1536 to 1536 channels at 4x4 pixels one image takes
# 36 ms apart and 80 fused, eight 233 and 194, 32 550 and 466 (two cores, float32). From 1536 to 768
# at 8x8 pixels the fused form is the faster one for any number.
_PLAIN_FROM = 1024


class ExtendedGenerator:
    """Old and new classes, or the new ones alone, in one folded generator.

    Args:
        generator: Folded, of any wrapper (`GanSpec.wrapper`).
        class_names: All names, in label order.
        refold: Brings the generator up to date with the networks it was folded from.

    Attributes:
        spec: The generator's; `num_classes` counts all classes.
        class_names, generator: As given.
    """

    def __init__(
        self,
        generator: BaseGenerator,
        class_names: Sequence[str],
        refold: Callable[[], None] | None = None,
    ):
        self.spec = generator.spec
        self.class_names = list(class_names)
        self.generator = generator
        self._refold = refold
        self._hold_kernels()

    def refresh(self) -> None:
        """Folds the present weights of the networks that this one was made of."""
        if self._refold:
            self._refold()
        self._hold_kernels()

    def _hold_kernels(self) -> None:
        for layer in self.generator.convolutions:
            if layer.resample == "up" and layer.kernel.shape[-1] >= _PLAIN_FROM:
                layer.fused = False
            layer.hold()

    def read_variables(self) -> list:
        """What a call reads: the generator's variables, held kernels in place of layers' own."""
        holding = [layer for layer in self.generator.convolutions if layer.held is not None]
        replaced = {id(v) for x in holding for v in (x.kernel, *x.non_trainable_weights)}
        own = [v for v in self.generator.variables if id(v) not in replaced]
        return [*own, *(layer.held for layer in holding)]

    @property
    def mixes(self) -> bool:
        """Whether classes can be mixed by weights; see `no_mixture`."""
        return self.spec.wrapper == "plain"

    @property
    def no_mixture(self) -> str:
        """Why classes cannot be mixed, in one line."""
        return (
            f"expected a generator with a table of classes, to mix them; this one is "
            f"{self.spec.wrapper}: give labels"
        )

    def __call__(self, z, labels, truncation=1.0):
        """Images float32 [B, R, R, 3] for z [B, dim_z] and labels int [B] or weights [B, K].

        The truncation, a scalar or [B], is the generator's.

        Raises:
            InputError: weights, where classes cannot be mixed.
        """
        if len(ops.convert_to_tensor(labels).shape) == 2 and not self.mixes:
            raise InputError(self.no_mixture)
        return self.generator(z, labels, truncation=truncation)[0]

    def gan(self, discriminator=None) -> Gan:
        """Old and new classes as a source of further transfers.

        Args:
            discriminator: Discriminator of the new classes, or of all; may be None.
        """
        spec = self.spec
        if discriminator is not None:
            spec = dataclasses.replace(spec, d_classes=discriminator.num_classes)
        return Gan(spec, self.generator, discriminator, self.class_names)


def fold_together(
    generators: list[BaseGenerator], class_names: list[list[str]]
) -> ExtendedGenerator:
    """Old and new classes in one folded generator.

    Each class belongs to one domain (all classes of one of the given generators, or of one of its
    domains): its batch-norm statistics and latent projections are that domain's, so the old
    classes' outputs do not change when new ones are learnt. New classes have one set of statistics,
    which for a source of several truncations is extended to them all, see `fold.at_all_levels`.

    Args:
        generators: Generators with equal class-independent weights, e.g. `(source, transferred)`.
            Those weights are taken from the last.
        class_names: One list of names a generator.
    """
    folded = folded_generator([generator.spec for generator in generators])
    names = [name for names in class_names for name in names]
    extended = ExtendedGenerator(folded, names, lambda: fold_into(folded, generators))
    extended.refresh()
    return extended


def extended_from(gan: Gan) -> ExtendedGenerator:
    """All classes of a GAN; one that is folded, or behind a wrapper, is taken as it is."""
    if gan.spec.domain_classes or gan.spec.wrapper != "plain":
        return ExtendedGenerator(gan.generator, gan.class_names)
    return fold_together([gan.generator], [gan.class_names])
