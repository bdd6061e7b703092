"""What names and shapes of BigGAN-PyTorch's tensors say about a network, and what they can hold."""

import dataclasses
import re

from cgt_tf.errors import InputError
from cgt_tf.formats.biggan_pytorch_rules import STATISTICS, discriminator_side
from cgt_tf.networks.spec import GanSpec, biggan_spec, discriminator_fields

BN_EPS = 1e-5
# The published settings: CIFAR's at 32x32 without a shared embedding, ImageNet's else.
SN_EPS, SN_EPS_CIFAR = 1e-6, 1e-8
_BOTTOM = 4
_OTHER_NORMS = "or that is normalised in another way (--norm_style)"


class Shapes:
    """Shapes of the tensors of one file, looked up with a clear error."""

    def __init__(self, tensors, origin):
        self._shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        self.origin = origin

    def __contains__(self, name):
        return name in self._shapes

    def __iter__(self):
        return iter(self._shapes)

    def of(self, name: str, rank: int) -> tuple[int, ...]:
        """The shape of a tensor that must be there, have `rank` axes and not be empty."""
        shape = self._shapes.get(name)
        if shape is None:
            raise InputError(f"expected {name} in {self.origin}, found no such tensor")
        if len(shape) != rank or 0 in shape:
            raise InputError(
                f"expected {rank} axes of {name} in {self.origin}, got shape {list(shape)}"
            )
        return shape

    def blocks(self) -> int:
        """How many blocks there are, numbered from 0 without a gap."""
        found = {int(m[1]) for name in self if (m := re.match(r"blocks\.(\d+)\.", name))}
        if not found or found != set(range(len(found))):
            raise InputError(f"expected blocks.0 onwards in {self.origin}, got {sorted(found)}")
        return len(found)

    def attentions(self, blocks: int) -> list[int]:
        """The blocks that self-attention follows."""
        return [i for i in range(blocks) if f"blocks.{i}.1.theta.weight" in self]


def network_kind(shapes: Shapes) -> str:
    """`generator` or `discriminator`.

    Raises:
        InputError: neither, or a variant that is not supported.
    """
    names = list(shapes)
    if any(name.startswith("blocks.0.0.conv4.") for name in names):
        raise InputError(f"expected a BigGAN in {shapes.origin}, got a BigGAN-deep")
    if any(re.search(r"\.(u|sv)[1-9]\d*$", name) for name in names):
        raise InputError(
            f"expected one singular vector a layer in {shapes.origin}, got several (num_G_SVs, "
            "num_D_SVs)"
        )
    if any(name.startswith(("output_layer.", "blocks.0.0.bn")) for name in names):
        kind = "generator"
    elif "embed.weight" in shapes and "blocks.0.0.conv1.weight" in shapes:
        kind = "discriminator"
    else:
        shown = ", ".join(names[:3])
        raise InputError(
            f"expected a generator or discriminator of BigGAN-PyTorch in {shapes.origin}, "
            f"got tensors {shown}{' ...' if len(names) > 3 else ''}"
        )
    if not any(name.endswith(".u0") for name in names):
        raise InputError(
            f"expected spectral norms in {shapes.origin}, got a {kind} without singular vectors"
        )
    return kind


def statistics_style(shapes: Shapes) -> str:
    """The key of `STATISTICS` that a generator's norms follow."""
    for style, (mean, _) in STATISTICS.items():
        if f"output_layer.0.{mean}" in shapes:
            return style
    raise InputError(
        f"expected output_layer.0.stored_mean in {shapes.origin}, found a generator without "
        f"batch statistics {_OTHER_NORMS}"
    )


def generator_spec(shapes: Shapes, bn_eps: float | None, sn_eps: float | None) -> GanSpec:
    """The spec of a generator, with a published discriminator's widths where they can be matched.

    Args:
        shapes: Shapes of its tensors.
        bn_eps, sn_eps: Epsilons; None: the published settings'.
    """
    blocks = shapes.blocks()
    convolutions = [shapes.of(f"blocks.{i}.0.conv1.weight", 4) for i in range(blocks)]
    widths = (convolutions[0][1], *(shape[0] for shape in convolutions))
    resolution = _BOTTOM * 2**blocks
    gain_rows, gain_columns = shapes.of("blocks.0.0.bn1.gain.weight", 2)
    first_dim = shapes.of("linear.weight", 2)[1]
    num_classes, shared_dim, chunk = gain_rows, 0, 0
    if "shared.weight" in shapes:
        num_classes, shared_dim = shapes.of("shared.weight", 2)
        chunk = gain_columns - shared_dim
    if chunk and chunk != first_dim:
        raise InputError(
            f"expected chunks of z as wide as linear.weight's {first_dim} columns in "
            f"{shapes.origin}, got {gain_columns} columns of blocks.0.0.bn1.gain.weight, "
            f"{shared_dim} of them the shared embedding's"
        )
    if sn_eps is None:
        sn_eps = SN_EPS_CIFAR if resolution == 32 and not shared_dim else SN_EPS
    return GanSpec(
        resolution=resolution,
        num_classes=num_classes,
        dim_z=first_dim * (blocks + 1) if chunk else first_dim,
        hierarchical=bool(chunk),
        shared_dim=shared_dim,
        g_widths=widths,
        g_attention=tuple(_BOTTOM * 2 ** (i + 1) for i in shapes.attentions(blocks)),
        bottom_width=_BOTTOM,
        bn_eps=BN_EPS if bn_eps is None else bn_eps,
        output_bn_eps=BN_EPS,
        sn_eps=sn_eps,
        **_matching_discriminator(widths, resolution),
    )


def _matching_discriminator(g_widths, resolution):
    """Fields of the published discriminator as wide as the generator, or of its mirror image."""
    published = _published(resolution)
    if published and (channels := _multiple(g_widths, published.g_widths)):
        return discriminator_fields(resolution, channels)
    widths = (*g_widths[:0:-1], g_widths[0])
    return {"d_widths": widths, "d_halvings": len(widths) - 1, "d_attention": ()}


def discriminator_spec(shapes: Shapes, sn_eps: float | None) -> GanSpec:
    """The spec of a discriminator, with a published generator's fields where they can be matched.

    Args:
        shapes: Shapes of its tensors.
        sn_eps: Epsilon of the spectral norm; None: the published settings'.
    """
    blocks = shapes.blocks()
    if blocks < 2:
        raise InputError(f"expected 2 or more blocks in {shapes.origin}, got {blocks}")
    widths = tuple(shapes.of(f"blocks.{i}.0.conv2.weight", 4)[0] for i in range(blocks))
    hidden = tuple(shapes.of(f"blocks.{i}.0.conv1.weight", 4)[0] for i in range(blocks))
    if hidden != widths:
        raise InputError(
            f"expected a wide discriminator in {shapes.origin} (first convolutions with "
            f"{list(widths)} channels), got {list(hidden)} (D_wide=False)"
        )
    halvings = _halvings(shapes, widths)
    resolution = 2 ** (blocks + 1)
    num_classes = shapes.of("embed.weight", 2)[0]
    if sn_eps is None:
        sn_eps = SN_EPS_CIFAR if resolution == 32 else SN_EPS
    spec = GanSpec(
        resolution=resolution,
        num_classes=num_classes,
        d_widths=widths,
        d_halvings=halvings,
        output_bn_eps=BN_EPS,
        sn_eps=sn_eps,
        **_matching_generator(widths, resolution),
    )
    found = shapes.attentions(blocks)
    sides = {discriminator_side(spec, i) for i in found}
    # A spec puts attention on feature maps of a size, so on all blocks that make it or on none.
    expected = [i for i in range(blocks) if discriminator_side(spec, i) in sides]
    if found != expected:
        raise InputError(
            f"expected attention after all of blocks {expected} of {shapes.origin}, whose outputs "
            f"are {sorted(sides)} pixels wide, got it after {found}"
        )
    return dataclasses.replace(spec, d_attention=tuple(sorted(sides, reverse=True)))


def _halvings(shapes, widths):
    """How many blocks halve: those with a shortcut convolution, but for the last.

    BigGAN-PyTorch's last block never halves, and has that convolution where it changes the width
    (at 64x64).
    """
    blocks = len(widths)
    found = [i for i in range(blocks) if f"blocks.{i}.0.conv_sc.weight" in shapes]
    halving = [i for i in found if i < blocks - 1]
    in_last = blocks - 1 in found
    if halving != list(range(len(halving))) or in_last != (widths[-1] != widths[-2]) or not halving:
        raise InputError(
            f"expected conv_sc in the first blocks of {shapes.origin}, and in the last where it "
            f"changes the width, got it in {found} of {blocks} blocks of {list(widths)} channels"
        )
    return len(halving)


def _matching_generator(d_widths, resolution):
    published = _published(resolution)
    if published and (channels := _multiple(d_widths, published.d_widths)):
        names = ("dim_z", "hierarchical", "shared_dim", "g_attention")
        fields = {name: getattr(published, name) for name in names}
        return {**fields, "g_widths": tuple(channels * width for width in published.g_widths)}
    return {"dim_z": 128, "g_widths": (d_widths[-1], *d_widths[-2::-1])}


def check_writable(spec: GanSpec, discriminator: bool) -> None:
    """Raises an InputError where BigGAN-PyTorch has no such network.

    Args:
        spec: Spec of the GAN.
        discriminator: Whether there is one to write.
    """
    if spec.deep or spec.domain_classes:
        kind = "a BigGAN-deep" if spec.deep else "a generator of folded domains"
        raise InputError(f"expected a BigGAN to write as .pth, got {kind}")
    if discriminator and spec.d_classes not in (0, spec.num_classes):
        raise InputError(
            f"expected a discriminator of {spec.num_classes} classes to write as .pth, as the "
            f"generator has, got one of {spec.d_classes}"
        )
    if spec.hierarchical and not spec.shared_dim:
        raise InputError(
            "expected a shared embedding to write a hierarchical latent as .pth, got shared_dim 0"
        )
    published = _published(spec.resolution)
    if published is None or spec.bottom_width != _BOTTOM:
        raise InputError(
            f"expected a resolution of 32, 64, 128, 256 or 512 from {_BOTTOM} pixels to write as "
            f".pth, got {spec.resolution} from {spec.bottom_width}"
        )
    networks = [("g_widths", published.g_widths)]
    networks += [("d_widths", published.d_widths)] if discriminator else []
    for field, table in networks:
        widths = getattr(spec, field)
        if not _multiple(widths, table):
            raise InputError(
                f"expected {field} in the proportions {list(table)}, the only ones that "
                f"BigGAN-PyTorch builds at {spec.resolution} pixels, got {list(widths)}"
            )
    if discriminator:
        _check_writable_discriminator(spec, published)


def _check_writable_discriminator(spec, published):
    if spec.d_halvings != published.d_halvings:
        raise InputError(
            f"expected d_halvings {published.d_halvings} to write a discriminator of "
            f"{spec.resolution} pixels as .pth, got {spec.d_halvings}"
        )
    # At 32x32 BigGAN-PyTorch takes every block for one of 16 pixels.
    sides = {discriminator_side(spec, i) for i in range(len(spec.d_widths))}
    if spec.resolution == 32 and 0 < len(sides & set(spec.d_attention)) < len(sides):
        raise InputError(
            f"expected d_attention on all or none of {sorted(sides)} to write as .pth, "
            f"got {list(spec.d_attention)}"
        )


def _published(resolution: int) -> GanSpec | None:
    """The published networks of width 1, or None where there are none of that resolution."""
    try:
        return biggan_spec(resolution, 1, channels=1)
    except InputError:
        return None


def _multiple(widths, table) -> int:
    """The whole number that takes a table to `widths`, or 0."""
    factor = widths[-1] // table[-1]
    return factor if tuple(widths) == tuple(factor * width for width in table) else 0
