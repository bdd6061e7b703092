"""From the first stage of cGANTransfer to fine-tuning (section 5.4 of the paper)."""

import numpy as np
from keras import ops

from cgt_tf.errors import InputError
from cgt_tf.methods.base import variable_name
from cgt_tf.models.biggan import BaseGenerator
from cgt_tf.models.gan import Gan


def take_over(gan: Gan, first: Gan) -> None:
    """Puts into `gan` all that the first stage trained; the source's weights stay as they are.

    The first stage divides its frozen kernels by their spectral norms; in fine-tuning they are the
    source's own, with their power vectors.

    Args:
        gan: built for fine-tuning, from the same source.
        first: as the first stage left it.

    Raises:
        InputError: other classes, settings or weights of the source; nothing is changed then.
    """
    if first.class_names != gan.class_names:
        raise InputError(
            f"expected the classes of --config.method.start, {', '.join(first.class_names)}, "
            f"got {', '.join(gan.class_names)}"
        )
    layers = gan.generator.spectral_layers()
    kept = {id(layer.kernel) for layer in layers}
    kept |= {id(layer.u) for layer in layers if layer.spectral_norm}
    pairs = []
    networks = ((gan.generator, first.generator), (gan.discriminator, first.discriminator))
    for network, earlier in networks:
        pairs += _matched(network.variables, earlier.variables, kept)
    _check_source(gan.generator, first.generator)
    for variable, value in pairs:
        variable.assign(value)


def _matched(variables: list, earlier: list, kept: set[int]) -> list[tuple]:
    """Pairs of each variable that is not kept and the earlier one of its name."""
    ours, theirs = ({_identity(v): v for v in group} for group in (variables, earlier))
    needed = {key for key, variable in ours.items() if id(variable) not in kept}
    for missing, text in ((needed - theirs.keys(), "no"), (theirs.keys() - ours.keys(), "also")):
        if missing:
            name, shape = min(missing)
            raise InputError(
                "expected --config.method.start to be a run with the same settings, it has "
                f"{text} {name} {list(shape)}"
            )
    return [(ours[key], theirs[key]) for key in sorted(needed)]


def _identity(variable) -> tuple:
    return variable_name(variable), tuple(variable.shape)


def _check_source(generator: BaseGenerator, first: BaseGenerator) -> None:
    for ours, theirs in zip(generator.spectral_layers(), first.spectral_layers(), strict=True):
        used = [ops.convert_to_numpy(layer.normalized_kernel(False)) for layer in (ours, theirs)]
        if not np.allclose(*used, rtol=1e-3, atol=1e-5):
            raise InputError(
                "expected --config.method.start to be a run of the stage propagate from "
                f"--config.source, but its {variable_name(theirs.kernel)} is not the source's"
            )
