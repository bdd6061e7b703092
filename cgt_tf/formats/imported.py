"""What an importer returns."""

import dataclasses

from cgt_tf.formats.assign import ReportLine
from cgt_tf.networks.biggan import BaseGenerator
from cgt_tf.networks.discriminator import Discriminator
from cgt_tf.networks.spec import GanSpec


@dataclasses.dataclass
class Imported:
    """Networks of one file or directory; either may be missing.

    Attributes:
        spec: Describes the networks that are there.
        generator, discriminator: Built, with the source's weights; or None.
        class_names: In label order, or None where the source does not name its classes.
        report: What became of each tensor.
        notes: What a user should know, one sentence each.
        provenance: JSON of where the weights come from.
    """

    spec: GanSpec
    generator: BaseGenerator | None = None
    discriminator: Discriminator | None = None
    class_names: list[str] | None = None
    report: list[ReportLine] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    provenance: dict = dataclasses.field(default_factory=dict)

    def lines(self, *, tensors: bool) -> list[str]:
        """What was read, for people: each tensor, if asked for, counts, notes, shapes."""
        ignored, spec = sum(not line.target for line in self.report), self.spec
        return [
            *(map(str, self.report) if tensors else ()),
            f"{len(self.report) - ignored} tensors read, {ignored} ignored with a reason",
            *(f"note: {note}" for note in self.notes),
            f"{spec.architecture}, {spec.resolution}x{spec.resolution}, {spec.num_classes} "
            f"classes, z {spec.dim_z}, widths {list(spec.g_widths)}, "
            f"{'with' if self.discriminator else 'without'} discriminator",
        ]
