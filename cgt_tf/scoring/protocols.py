"""Named protocols: what a score means, fixed under a name.

A FID without its sample count, reference images, label sampling, truncation and batch-norm
statistics cannot be compared with another one. A named protocol fixes all of them, and the resize
that comes before the feature network; the feature network itself is stored beside every number.

    fid5k_heldout   5,000 samples against held-out images
    fid10k_heldout  10,000 samples against held-out images
    fid50k_train    50,000 samples against the training images
    fid2k_train     2,000 samples against the training images: to choose settings by, without a look
                    at held-out images
    paper           as cGANTransfer was published (see its entry)
    run             the values of `--config.evaluation`; the default

Whatever departs from a named protocol becomes part of the stored name, as in
`fid5k_heldout, changed: num_samples=100`: such a number is stored as what it is.
"""

import dataclasses
from typing import Any

from cgt_tf.config import LABEL_SAMPLINGS, PROTOCOLS, EvaluationConfig
from cgt_tf.errors import InputError
from cgt_tf.features import RESIZE

REFERENCES = ("heldout", "train", "any")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """Everything about a score but the networks, the reference images and the seed.

    Attributes:
        name: As stored with the numbers; says what was changed, if anything was.
        base: Name of the protocol that was changed; that of this one where nothing was.
        num_samples: Generated images, at least 2.
        reference: `heldout`, `train`, or `any`: held-out images, or the training images where
            there are none.
        labels: `uniform` or `as_data`, see `generate.draw_labels`.
        truncation: Truncation of the latents, in (0, 1]; 1 is none.
        standing_batches: Batches that batch-norm statistics are taken from before scoring; 0:
            the running statistics of training.
        kmmd_samples: Kmmd samples of the generated images, the first so many count for KMMD; 0:
            all.
        checkpoint: The checkpoint of a run that the protocol is about: `best`, the one of the
            lowest FID; "": any.
        resize: How images come to the feature network's size.
    """

    name: str
    num_samples: int
    reference: str
    labels: str = "uniform"
    truncation: float = 1.0
    standing_batches: int = 0
    kmmd_samples: int = 0
    checkpoint: str = ""
    resize: str = RESIZE
    base: str = ""

    def __post_init__(self) -> None:
        if not self.base:
            object.__setattr__(self, "base", self.name)
        if self.num_samples < 2:
            raise InputError(f"expected at least 2 generated samples, got {self.num_samples}")
        if self.reference not in REFERENCES:
            raise InputError(f"expected a reference of {REFERENCES}, got {self.reference!r}")
        if self.labels not in LABEL_SAMPLINGS:
            raise InputError(
                f"expected label sampling out of {', '.join(LABEL_SAMPLINGS)}, got {self.labels!r}"
            )
        if not 0 < self.truncation <= 1:
            raise InputError(f"expected a truncation in (0, 1], got {self.truncation}")
        if self.standing_batches < 0:
            raise InputError(
                f"expected standing batches of at least 0, got {self.standing_batches}"
            )

    @property
    def bn_statistics(self) -> str:
        """`standing` or `running`."""
        return "standing" if self.standing_batches else "running"

    def changed(self, **values: Any) -> "Protocol":
        """The same with other values, the ones that do change something told in the name.

        Args:
            values: Fields by name, but `name`, `base` and `resize`; None leaves a field as it is.
        """
        given = {field: value for field, value in values.items() if value is not None}
        new = {field: value for field, value in given.items() if value != getattr(self, field)}
        if not new:
            return self
        text = ", ".join(f"{field}={_shown(value)}" for field, value in new.items())
        separator = ", " if self.name != self.base else ", changed: "
        return dataclasses.replace(self, name=f"{self.name}{separator}{text}", **new)


_NAMED = (
    Protocol(name="fid5k_heldout", num_samples=5_000, reference="heldout"),
    Protocol(name="fid10k_heldout", num_samples=10_000, reference="heldout"),
    Protocol(name="fid50k_train", num_samples=50_000, reference="train"),
    Protocol(name="fid2k_train", num_samples=2_000, reference="train"),
    # Shahbazi et al. (CVPR 2021) and its code: the lowest FID of all checkpoints, 50 k untruncated
    # samples with uniform labels, the training images as reference, running statistics, KMMD on
    # 25 k samples. The feature network was torchvision's Inception-v3.
    Protocol(
        name="paper",
        num_samples=50_000,
        reference="train",
        kmmd_samples=25_000,
        checkpoint="best",
    ),
)
TABLE = {protocol.name: protocol for protocol in _NAMED}


def get_protocol(name: str, evaluation: EvaluationConfig) -> Protocol:
    """The protocol of a name.

    Args:
        name: A named protocol; `run` or "" is what `evaluation` says. A named one takes nothing
            from `evaluation`.
        evaluation: The values of the protocol `run`.

    Raises:
        InputError: unknown name, or values out of range.
    """
    if name in ("", "run"):
        return Protocol(
            name="run",
            num_samples=evaluation.num_samples,
            reference="any",
            labels=evaluation.labels,
            truncation=evaluation.truncation,
            standing_batches=evaluation.standing_batches,
        )
    if name not in TABLE:
        raise InputError(f"expected a protocol out of {', '.join(PROTOCOLS)}, got {name!r}")
    return TABLE[name]


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
