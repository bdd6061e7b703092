"""What a BigGAN is made of: one frozen record, and the published channel tables.

Tables: BigGAN paper (Brock et al., 2019), appendix B, tables 4 to 9; 32x32 as BigGAN-PyTorch has it
for CIFAR.
"""

import dataclasses
import json

from cgt_tf.errors import InputError
from cgt_tf.networks.spec_checks import check_fields

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
ARCHITECTURES = ("biggan", "biggan_deep")
WRAPPERS = ("plain", "mined", "selected", "modulated")
SELECTORS = ("", "classifier", "frequency")
_TUPLES = (
    *("g_widths", "d_widths", "g_attention", "d_attention"),
    *("truncation_grid", "domain_classes", "member_classes"),
)
# What only generators behind a miner have.
_MINED = (
    *("miner_layers", "miner_softmax"),
    *("members", "member_classes", "selector"),
)
_DIM_Z = {32: 128, 64: 120, 128: 120, 256: 140, 512: 128}


@dataclasses.dataclass(frozen=True, kw_only=True)
class GanSpec:
    """Shape and constants of a generator and its discriminator.

    Attributes:
        architecture: `biggan`, or `biggan_deep`, whose generator has two bottleneck blocks for each
            of `g_widths` and shows the whole z and the class embedding to every layer.
        resolution: Side of the square images, in pixels.
        num_classes: Classes of both networks.
        dim_z: Width of z. Hierarchical generators cut it into one equal chunk for the first linear
            layer and one for each block, in order.
        hierarchical: Whether blocks see their chunk of z.
        shared_dim: Width of the class embedding all norms share; 0 gives each norm its own table.
        g_widths: Channels after the generator's first linear layer, then after each block.
        d_widths: Channels after each block of the discriminator.
        d_classes: Classes of the discriminator where it has others than the generator (that of an
            extended GAN knows the newest classes only); 0: `num_classes`.
        d_halvings: How many of the discriminator's blocks, from the first, halve the feature map.
        g_attention, d_attention: Sides of the feature maps that self-attention is put on.
        bottom_width: Side of the generator's first feature map.
        bn_momentum, bn_eps, sn_eps: Constants of batch and spectral norm.
        output_bn_eps: The output norm's own epsilon; None: `bn_eps`.
        truncation_grid: Levels of truncation, evenly spaced and ascending, for which the generator
            keeps batch-norm statistics; empty: one set for all.
        domain_classes: Domain classes of a folded generator (tables instead of embeddings, spectral
            norms multiplied out, see `networks.fold`), how many classes, in label order, belong to
            each domain; empty for any other.
        wrapper: What a label meets first: `plain`, the class tables; `mined`, a map of z and class
            vector for each label, see `networks.mined`; `selected`, the choice of one of several
            mined generators, see `networks.selected`; `modulated`, kernels of its own, see
            `layers.class_kernels` and `networks.modulated`.
        table_classes: Rows of the class tables behind a miner, or of those that z chooses from in a
            modulated generator; 0: `num_classes`.
        miner_layers: Layers of a miner that has ReLU between them; 0: it is one affine map.
        miner_softmax: Whether a miner of class weights gives their logits.
        members: Miners of a mined generator, or mined generators, of which one is picked for each
            latent and label; 0: there is but one.
        member_classes: Rows of the class tables of each mined generator.
        selector: What picks: `classifier` or `frequency`, see `networks.selector`.
        modulation_rank: Modulation rank of a modulated generator that keeps factors of this rank
            for each class in place of kernels, see `layers.modulated_kernels`; 0: kernels.
    """

    architecture: str = "biggan"
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
    output_bn_eps: float | None = None
    d_classes: int = 0
    truncation_grid: tuple[float, ...] = ()
    domain_classes: tuple[int, ...] = ()
    wrapper: str = "plain"
    table_classes: int = 0
    miner_layers: int = 0
    miner_softmax: bool = False
    members: int = 0
    member_classes: tuple[int, ...] = ()
    selector: str = ""
    modulation_rank: int = 0

    def __post_init__(self):
        for field in _TUPLES:
            value = getattr(self, field)
            if not isinstance(value, list | tuple):
                raise InputError(f"{field} must be a list, got {type(value).__name__}")
            object.__setattr__(self, field, tuple(value))
        check_fields(self)
        if self.architecture not in ARCHITECTURES:
            raise InputError(
                f"architecture must be one of {', '.join(ARCHITECTURES)}, got {self.architecture!r}"
            )
        if self.wrapper not in WRAPPERS:
            raise InputError(f"wrapper must be one of {', '.join(WRAPPERS)}, got {self.wrapper!r}")
        self._check_miners()
        if self.modulation_rank < 0 or (self.modulation_rank and self.wrapper != "modulated"):
            raise InputError(
                "expected modulation_rank 0, or a rank of the wrapper modulated, got "
                f"{self.modulation_rank} of {self.wrapper!r}"
            )
        if self.domain_classes and sum(self.domain_classes) != self.rows:
            raise InputError(
                f"expected domain_classes that sum to num_classes {self.rows}, "
                f"got {self.domain_classes}"
            )
        if len(self.truncation_grid) == 1:
            raise InputError("expected no or several levels in truncation_grid, got 1")
        if self.deep and (self.hierarchical or not self.shared_dim):
            raise InputError("biggan_deep needs shared_dim and no hierarchical latent")
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

    def _check_miners(self) -> None:
        if self.table_classes and self.wrapper == "plain":
            raise InputError("table_classes needs another wrapper, got 'plain'")
        for name in _MINED:
            if getattr(self, name) and self.wrapper not in ("mined", "selected"):
                raise InputError(
                    f"{name} needs the wrapper mined or selected, got {self.wrapper!r}"
                )
        if self.selector not in SELECTORS or bool(self.selector) != bool(self.members):
            raise InputError(
                f"expected a selector of {', '.join(SELECTORS[1:])} for several members and none "
                f"otherwise, got {self.selector!r} for {self.members}"
            )
        if len(self.member_classes) != (self.members if self.wrapper == "selected" else 0):
            raise InputError(
                "expected member_classes for each member of a selected generator and none "
                f"otherwise, got {self.member_classes}"
            )

    @property
    def member_specs(self) -> list["GanSpec"]:
        """Those of the mined generators that one is picked from."""
        changes = {"wrapper": "mined", "members": 0, "member_classes": (), "selector": ""}
        return [
            dataclasses.replace(self, table_classes=rows, **changes) for rows in self.member_classes
        ]

    @property
    def embeds_vectors(self) -> bool:
        """Whether a class may be a vector, which the shared embedding would give."""
        return bool(self.shared_dim) and not self.domain_classes

    @property
    def class_width(self) -> int:
        """Width of what stands for a class: its vector, or weights of the rows of the tables."""
        return self.shared_dim if self.embeds_vectors else self.rows

    @property
    def deep(self) -> bool:
        """Whether the generator is BigGAN-deep's."""
        return self.architecture == "biggan_deep"

    @property
    def rows(self) -> int:
        """Rows of the class tables."""
        return self.table_classes or self.num_classes

    @property
    def num_blocks(self) -> int:
        """Doublings of the resolution; BigGAN has a block, BigGAN-deep two, for each."""
        return len(self.g_widths) - 1

    @property
    def chunk_dim(self) -> int:
        """Width of the part of z that each conditional norm sees; 0 for none."""
        if self.deep:
            return self.dim_z
        return self.dim_z // (self.num_blocks + 1) if self.hierarchical else 0

    @property
    def first_dim(self) -> int:
        """Width of what the first linear layer sees."""
        if self.deep:
            return self.shared_dim + self.dim_z
        return self.chunk_dim or self.dim_z

    @property
    def statistics(self) -> int:
        """Rows of moving statistics a norm keeps, domain by domain; 0: one unnamed row."""
        rows = max(len(self.domain_classes), 1) * max(len(self.truncation_grid), 1)
        return rows if self.domain_classes or self.truncation_grid else 0

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "GanSpec":
        """Reads `to_json`'s text; an unknown or missing field is an InputError."""
        try:
            return cls(**json.loads(text))
        except (json.JSONDecodeError, TypeError, RecursionError) as error:
            raise InputError(f"expected the JSON of a GanSpec: {error}") from error


def biggan_spec(
    resolution: int, num_classes: int, channels: int | None = None, **changes
) -> GanSpec:
    """The published BigGAN at a resolution, as BigGAN-PyTorch configures it.

    Args:
        resolution: 32 (CIFAR: no hierarchical latent, no shared embedding, no attention), 64, 128,
            256 or 512 (ImageNet: both, attention at 64x64).
        num_classes: Number of classes.
        channels: The width multiplied by the tables ("ch"); default 64 at 32x32, else 96.
        **changes: fields of `GanSpec` to set differently.
    """
    if resolution not in _GENERATOR_WIDTHS:
        raise InputError(f"resolution must be one of {sorted(_GENERATOR_WIDTHS)}, got {resolution}")
    cifar = resolution == 32
    channels = channels or (64 if cifar else 96)
    fields = {
        "resolution": resolution,
        "num_classes": num_classes,
        "dim_z": _DIM_Z[resolution],
        "hierarchical": not cifar,
        "shared_dim": 0 if cifar else 128,
        "g_widths": tuple(channels * width for width in _GENERATOR_WIDTHS[resolution]),
        **discriminator_fields(resolution, channels),
        "g_attention": () if cifar else (64,),
        "d_attention": () if cifar else (64,),
        "sn_eps": 1e-8 if cifar else 1e-6,
    }
    return GanSpec(**{**fields, **changes})


def discriminator_fields(resolution: int, channels: int) -> dict:
    """Fields of `GanSpec` of the published discriminator at a resolution and width ("ch").

    Attention, at 64x64, is left out of networks too narrow for it.
    """
    widths = tuple(channels * width for width in _DISCRIMINATOR_WIDTHS[resolution])
    cifar = resolution == 32
    halvings = 2 if cifar else len(widths) - 1
    sides = [resolution // 2 ** min(i + 1, halvings) for i in range(len(widths))]
    wide_enough = 64 in sides and widths[sides.index(64)] >= 8
    return {
        "d_widths": widths,
        "d_halvings": halvings,
        "d_attention": (64,) if not cifar and wide_enough else (),
    }
