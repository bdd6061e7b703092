"""How many numbers the modulation of a generator takes, from its spec."""

import dataclasses
import itertools

from cgt_tf.networks.biggan_deep import BOTTLENECK
from cgt_tf.networks.spec import GanSpec

_LINEAR_LAYERS = 4


@dataclasses.dataclass(frozen=True)
class ModulationCounts:
    """Counts of one spec; all but the task network's do not depend on the number of new classes.

    Attributes:
        convolutions: `(C_in, C_out)` of the blocks' 3x3 convolutions, in network order.
        width: T, of the task vectors.
    """

    convolutions: tuple[tuple[int, int], ...]
    width: int = 64

    @classmethod
    def of(cls, spec: GanSpec, width: int = 64) -> "ModulationCounts":
        found = []
        for into, out in itertools.pairwise(spec.g_widths):
            if spec.deep:
                hidden = into // BOTTLENECK
                # Two blocks, both of the input's width, with two 3x3 convolutions each.
                found += [(hidden, hidden)] * 4
            else:
                found += [(into, out), (out, out)]
        return cls(tuple(found), width)

    @property
    def pairs(self) -> int:
        """Pairs of input and output channel: sum of C_in C_out."""
        return sum(into * out for into, out in self.convolutions)

    @property
    def biases(self) -> int:
        """Offsets of biases of a class: sum of C_out."""
        return sum(out for _, out in self.convolutions)

    @property
    def inputs(self) -> int:
        """Sum of C_in."""
        return sum(into for into, _ in self.convolutions)

    @property
    def kernels(self) -> int:
        """Kernel weights, of the source and of each class whose kernels are folded."""
        return 9 * self.pairs

    @property
    def modulation(self) -> int:
        """gamma and beta of a class."""
        return 2 * self.pairs

    @property
    def constants(self) -> int:
        """W~, mu and s, which low rank keeps for all classes together."""
        return self.kernels + 2 * self.pairs

    @property
    def full_heads(self) -> int:
        """Weights and biases of the heads of gamma, beta and the bias."""
        return (self.width + 1) * (self.modulation + self.biases)

    def outputs(self, rank: int) -> int:
        """Factors and biases of a class at a rank."""
        return 2 * rank * (self.inputs + self.biases) + self.biases

    def low_rank_heads(self, rank: int) -> int:
        """Weights and biases of the heads at a rank."""
        return (self.width + 1) * self.outputs(rank)

    def task_network(self, num_classes: int) -> int:
        """Table and layers of the task network."""
        return num_classes * self.width + _LINEAR_LAYERS * self.width * (self.width + 1)
