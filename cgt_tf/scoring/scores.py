"""Scores: numbers together with everything that they depend on.

A number without its feature network, sample counts, reference images, batch-norm statistics and
checkpoint cannot be compared with another one: published values of one model differ by a factor of
two over the batch-norm mode alone.
"""

import dataclasses
from typing import Any

from PIL import Image

from cgt_tf.scoring.protocols import Protocol


@dataclasses.dataclass(frozen=True)
class FeatureFacts:
    """The feature network of scores.

    Attributes:
        name, fingerprint, resolution, dim: As of `features.feature_net.FeatureNet`.
        resize: How images come to that resolution.
        heldout_accuracy: How often it names its own held-out images correctly; None: not known.
    """

    name: str
    fingerprint: str
    resolution: int
    dim: int
    resize: str
    heldout_accuracy: float | None


@dataclasses.dataclass(frozen=True)
class Reference:
    """The real images that scores compare with.

    Attributes:
        name, fingerprint: As of `data.image_set.ImageSet`.
        split: `heldout`, `train`, or `given`: not known.
    """

    name: str
    fingerprint: str
    split: str


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Scores:
    """What `Evaluator.score` found.

    Attributes:
        protocol: What was done.
        samples: Name of the scored images, for people.
        metrics: All numbers by name.
        per_class: Numbers by name and class.
        features: The feature network.
        reference: The real images.
        num_real, num_fake, num_kmmd: Counts of images; the last of those that KMMD takes.
        labels: How the labels of samples were drawn.
        seed: Seed of latents, labels and subsets.
        truncation: Truncation of the latents; None: the images were not drawn here.
        bn_statistics, standing_batches: Batch-norm statistics of the generator; None: unknown.
        checkpoint_step: Training step of the generator, where there is one.
        warnings: One line for each thing that makes the numbers less than they seem.
        picture: Generated images beside the nearest real ones, for the metric `nearest`.
    """

    protocol: Protocol
    samples: str
    metrics: dict[str, float]
    per_class: dict[str, dict[str, float]]
    features: FeatureFacts
    reference: Reference
    num_real: int
    num_fake: int
    num_kmmd: int
    labels: str
    seed: int
    truncation: float | None
    bn_statistics: str | None
    standing_batches: int | None
    checkpoint_step: int | None = None
    warnings: tuple[str, ...] = ()
    picture: Image.Image | None = None

    def to_json(self) -> dict[str, Any]:
        """All but the picture, as JSON types; the protocol by its name."""
        fields = (field.name for field in dataclasses.fields(self) if field.name != "picture")
        values = {name: getattr(self, name) for name in fields}
        return {
            **values,
            "protocol": self.protocol.name,
            "features": dataclasses.asdict(self.features),
            "reference": dataclasses.asdict(self.reference),
            "warnings": list(self.warnings),
        }
