"""What all transfer methods do alike: checks, the new classes' spec, the discriminator."""

import dataclasses

import keras

from cgt_tf.config import Config
from cgt_tf.errors import InputError
from cgt_tf.methods.base import DataSpec
from cgt_tf.networks.discriminator import Discriminator
from cgt_tf.networks.gan import Gan, create_discriminator
from cgt_tf.networks.spec import GanSpec
from cgt_tf.networks.weights import copy_weights


def check_transfer(source: Gan, target: DataSpec) -> None:
    """`InputError` for new classes that do not fit the source, or that it already has."""
    if source.spec.resolution != target.resolution:
        raise InputError(
            f"expected images of the source's resolution {source.spec.resolution}, "
            f"got {target.resolution}"
        )
    if source.spec.wrapper != "plain":
        raise InputError(
            f"expected a source with a table of classes, got one that is {source.spec.wrapper}"
        )
    repeated = sorted(set(source.class_names) & set(target.class_names))
    if repeated:
        raise InputError(f"expected new classes, got classes of the source: {', '.join(repeated)}")


def transferred_spec(source: GanSpec, num_classes: int) -> GanSpec:
    """The spec of networks for new classes: tables of offsets, one set of statistics.

    BigGAN-deep keeps the width of the class embedding, which its first layer sees.
    """
    return dataclasses.replace(
        source,
        num_classes=num_classes,
        shared_dim=source.shared_dim if source.deep else 0,
        d_classes=0,
        truncation_grid=(),
        domain_classes=(),
    )


def transferred_discriminator(
    source: Gan,
    spec: GanSpec,
    config: Config,
    *,
    frozen_blocks: int | None = None,
    taken_over: bool = False,
) -> Discriminator:
    """The source's discriminator with a fresh projection table; all fresh where it has none.

    Args:
        source: The source GAN, which is left as it is.
        spec: Spec of the new networks.
        config: Config of the run.
        frozen_blocks: How many blocks from the image side are frozen; None: as the config says.
        taken_over: Whether its weights come from an earlier run.

    Raises:
        InputError: there is none, and no warm-up is asked for; or blocks to freeze of one that is
            fresh, or more than there are.
    """
    frozen, blocks = config.discriminator.freeze_blocks, len(spec.d_widths)
    if frozen_blocks is not None:
        frozen = frozen_blocks
    if frozen > blocks or (frozen and source.discriminator is None):
        raise InputError(
            f"expected --config.discriminator.freeze_blocks of at most the {blocks} blocks of a "
            f"source's discriminator, and 0 where there is none, got {frozen}"
        )
    needed = not (taken_over or config.discriminator.warmup_steps)
    if source.discriminator is None and needed:
        raise InputError(
            "the source has no discriminator: give one with --config.discriminator.source=<handle>,"
            " or train a fresh one first with --config.discriminator.warmup_steps=<steps>"
        )
    if source.discriminator is None:
        return create_discriminator(spec)
    discriminator = create_discriminator(spec, initializer="zeros")
    copy_weights(
        source.discriminator, discriminator, lambda name: name.startswith("class_projection/")
    )
    table = discriminator.class_projection.kernel
    table.assign(keras.initializers.Orthogonal(seed=config.seed)(table.shape))
    discriminator.frozen_blocks = frozen
    return discriminator
