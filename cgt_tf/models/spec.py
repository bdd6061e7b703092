"""What a BigGAN is made of: one frozen record, and the published channel tables.

Tables: BigGAN paper (Brock et al., 2019), appendix B, tables 4 to 9; 32x32 as BigGAN-PyTorch has it
for CIFAR.
"""

import dataclasses
import json

from cgt_tf.errors import InputError

# Width multipliers: G after the first linear layer and after each block, D after each block.
_GENERATOR_WIDTHS = {
    32: (4, 4, 4, 4),
    64: (16, 16, 8, 4, 2),
    128: (16, 16, 8, 4, 2, 1),
    256: (16, 16, 8, 8, 4, 2, 1),
    512: (16, 16, 8, 8, 4, 2, 1, 1),
}
_DISCRIMINATOR_WIDTHS = {
    32: (4, 4, 4, 4),
    64: (1, 2, 4, 8, 16),
    128: (1, 2, 4, 8, 16, 16),
    256: (1, 2, 4, 8, 8, 16, 16),
    512: (1, 1, 2, 4, 8, 8, 16, 16),
}
_DIM_Z = {32: 128, 64: 120, 128: 120, 256: 140, 512: 128}


@dataclasses.dataclass(frozen=True, kw_only=True)
class GanSpec:
    """Shape and constants of a generator and its discriminator.

    Attributes:
        resolution: side of the square images, in pixels.
        num_classes: classes of both networks.
        dim_z: width of z. Hierarchical generators cut it into one equal chunk for the first linear
            layer and one for each block, in order.
        hierarchical: whether blocks see their chunk of z.
        shared_dim: width of the class embedding all norms share; 0 gives each norm its own table.
        g_widths: channels after the generator's first linear layer, then after each block.
        d_widths: channels after each block of the discriminator.
        d_halvings: how many of the discriminator's blocks, from the first, halve the feature map.
        g_attention, d_attention: sides of the feature maps that self-attention is put on.
        bottom_width: side of the generator's first feature map.
        bn_momentum, bn_eps, sn_eps: constants of batch and spectral norm.
    """

    resolution: int
    num_classes: int
    dim_z: int
    g_widths: tuple[int, ...]
    d_widths: tuple[int, ...]
    d_halvings: int
    hierarchical: bool = False
    shared_dim: int = 0
    g_attention: tuple[int, ...] = ()
    d_attention: tuple[int, ...] = ()
    bottom_width: int = 4
    bn_momentum: float = 0.9
    bn_eps: float = 1e-5
    sn_eps: float = 1e-6

    def __post_init__(self):
        for field in ("g_widths", "d_widths", "g_attention", "d_attention"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        if self.num_classes < 1:
            raise InputError(f"num_classes must be at least 1, got {self.num_classes}")
        blocks = len(self.g_widths) - 1
        if self.bottom_width * 2**blocks != self.resolution:
            raise InputError(
                f"expected resolution {self.bottom_width * 2**blocks}, which {blocks} blocks make "
                f"from {self.bottom_width}, got {self.resolution}"
            )
        if self.hierarchical and self.dim_z % (blocks + 1):
            raise InputError(
                f"dim_z must divide into {blocks + 1} equal chunks (first layer and {blocks} "
                f"blocks), got {self.dim_z}"
            )

    @property
    def num_blocks(self) -> int:
        """Blocks of the generator; each doubles the resolution."""
        return len(self.g_widths) - 1

    @property
    def chunk_dim(self) -> int:
        """Width of the z chunk each block sees; 0 where the latent is not hierarchical."""
        return self.dim_z // (self.num_blocks + 1) if self.hierarchical else 0

    @property
    def first_dim(self) -> int:
        """Width of what the first linear layer sees."""
        return self.chunk_dim or self.dim_z

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "GanSpec":
        """Reads `to_json`'s text; an unknown or missing field is an InputError."""
        try:
            return cls(**json.loads(text))
        except (json.JSONDecodeError, TypeError) as error:
            raise InputError(f"expected the JSON of a GanSpec: {error}") from error


def biggan_spec(
    resolution: int, num_classes: int, channels: int | None = None, **changes
) -> GanSpec:
    """The published BigGAN at a resolution, as BigGAN-PyTorch configures it.

    Args:
        resolution: 32 (CIFAR: no hierarchical latent, no shared embedding, no attention), 64, 128,
            256 or 512 (ImageNet: both, attention at 64x64).
        num_classes: number of classes.
        channels: the width multiplied by the tables ("ch"); default 64 at 32x32, else 96.
        **changes: fields of `GanSpec` to set differently.
    """
    if resolution not in _GENERATOR_WIDTHS:
        raise InputError(f"resolution must be one of {sorted(_GENERATOR_WIDTHS)}, got {resolution}")
    cifar = resolution == 32
    channels = channels or (64 if cifar else 96)
    d_widths = tuple(channels * width for width in _DISCRIMINATOR_WIDTHS[resolution])
    fields = {
        "resolution": resolution,
        "num_classes": num_classes,
        "dim_z": _DIM_Z[resolution],
        "hierarchical": not cifar,
        "shared_dim": 0 if cifar else 128,
        "g_widths": tuple(channels * width for width in _GENERATOR_WIDTHS[resolution]),
        "d_widths": d_widths,
        "d_halvings": 2 if cifar else len(d_widths) - 1,
        "g_attention": () if cifar else (64,),
        "d_attention": () if cifar else (64,),
        "sn_eps": 1e-8 if cifar else 1e-6,
    }
    return GanSpec(**{**fields, **changes})
