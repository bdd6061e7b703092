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
        spec: describes the networks that are there.
        generator, discriminator: built, with the source's weights; or None.
        class_names: in label order, or None where the source does not name its classes.
        report: what became of each tensor.
        notes: what a user should know, one sentence each.
        provenance: JSON of where the weights come from.
    """

    spec: GanSpec
    generator: BaseGenerator | None = None
    discriminator: Discriminator | None = None
    class_names: list[str] | None = None
    report: list[ReportLine] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    provenance: dict = dataclasses.field(default_factory=dict)
