"""Scores samples against one set of real images under one protocol."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from cgt_tf.data.image_set import ImageSet
from cgt_tf.errors import InputError
from cgt_tf.features.extraction import Extractor, Outputs
from cgt_tf.features.feature_net import FeatureNet
from cgt_tf.features.reference_cache import ReferenceCache
from cgt_tf.metrics.gaussian import GaussianStatistics
from cgt_tf.metrics.metric import Comparison, Found, LabelledFeatures
from cgt_tf.metrics.registry import METRICS, get_metric, measure
from cgt_tf.scoring.generate import LABEL_RULES, SampleFn, draw_labels
from cgt_tf.scoring.nearest import nearest_picture
from cgt_tf.scoring.protocols import Protocol
from cgt_tf.scoring.report import warnings_of
from cgt_tf.scoring.samples import GeneratedImages, Samples, canonical_order
from cgt_tf.scoring.scores import FeatureFacts, Reference, Scores

REFERENCE_SPLITS = ("heldout", "train", "given")


@dataclasses.dataclass(eq=False)
class Evaluator:
    """Scores images against one set of real images under one protocol.

    Attributes:
        feature_net: See `features.load_feature_net`; loaded in the scope of `strategy`.
        reference: The real images; their features are computed once and kept.
        protocol: See `protocols`.
        metrics: Names of the registry; those that come `unasked` are measured besides, where they
            can be.
        reference_split: `heldout`, `train` (the generator was trained on these images), or
            `given`: not known.
        training_images: What `nearest` and `intra_cluster` compare with, None: the reference
            images; `fld` needs them beside held-out ones.
        batch_size: Images per call of the generator and of the feature network.
        seed: Seed of latents, labels and subsets; the same seed gives the same images.
        strategy: Each replica takes its share of a batch.
        cache_dir: Cache dir of the reference's features; see `files.cache_root`.
    """

    feature_net: FeatureNet
    reference: ImageSet
    protocol: Protocol
    metrics: Sequence[str]
    _: dataclasses.KW_ONLY
    reference_split: str
    training_images: ImageSet | None = None
    batch_size: int = 100
    seed: int = 0
    strategy: tf.distribute.Strategy | None = None
    cache_dir: str | None = None

    def __post_init__(self) -> None:
        if not self.metrics:
            raise InputError("expected at least one metric, got none")
        needing = [name for name in self.metrics if get_metric(name).needs_training]
        if self.reference_split not in REFERENCE_SPLITS:
            raise InputError(
                f"expected a reference out of {REFERENCE_SPLITS}, got {self.reference_split!r}"
            )
        if needing and not self._has_both:
            raise InputError(
                "expected held-out images beside those that were trained on for the metric "
                f"{needing[0]}, got {self.reference.name} ({self.reference_split}) alone"
            )
        if len(self.reference) < 2:
            raise InputError(f"expected at least 2 reference images in {self.reference.name}")

    def draw(
        self,
        sample_fn: SampleFn,
        dim_z: int,
        class_names: Sequence[str],
        batch_size: int | None = None,
    ) -> GeneratedImages:
        """The images of a generator that the protocol asks for, not drawn yet.

        Args:
            sample_fn: z float32 [B, dim_z], labels int32 [B] -> images float32 [B, H, W, 3] in
                [-1, 1], of the reference images' size.
            dim_z: Width of a latent.
            class_names: Names of the labels 0, 1, ...
            batch_size: B; None is the evaluator's.

        Raises:
            InputError: too few samples, or a class that the reference lacks where labels are drawn
                as in the data.
        """
        counts: list[int] = []
        if self.protocol.labels == "as_data":
            lacking = [name for name in class_names if name not in self.reference.counts]
            if lacking:
                raise InputError(
                    f"expected reference images of every class for labels as_data, "
                    f"{self.reference.name} has none of {lacking[0]!r}"
                )
            counts = [self.reference.counts[name] for name in class_names]
        labels = draw_labels(
            self.protocol.labels, self.protocol.num_samples, len(class_names), counts, self.seed
        )
        return GeneratedImages(
            sample_fn,
            labels,
            tuple(class_names),
            dim_z,
            batch_size or self.batch_size,
            self.seed,
            self.protocol.truncation,
        )

    def score(
        self, samples: Samples, name: str, *, checkpoint_step: int | None = None, **facts: Any
    ) -> Scores:
        """Computes the metrics of samples, and tells what they depend on.

        Args:
            samples: The images to score.
            name: What they are, for people.
            checkpoint_step: Training step of the generator, where there is one.
            facts: Other values of fields of `Scores`, such as `truncation=None` where images were
                not drawn here.

        Raises:
            InputError: images that are not finite, not in [-1, 1] or of another size than the
                reference images; too few images, or classes that do not match, for a metric.
        """
        outputs = self._extract(samples)
        found = self._measure(samples, outputs)
        picture = None
        if "nearest" in found:
            distances = np.empty(len(outputs))
            order = canonical_order(samples.labels, samples.class_names)
            distances[order] = found["nearest"].details.distances
            real, features = self._may_be_copied
            trained = self._has_both or self.reference_split == "train"
            kind = "training" if trained else "real"
            picture = nearest_picture(samples, outputs.features, distances, real, features, kind)
        scores = Scores(
            samples=name,
            metrics=_scalars(found),
            per_class={k: v for part in found.values() for k, v in part.per_class.items()},
            checkpoint_step=checkpoint_step,
            picture=picture,
            **{**self._facts(samples), **facts},
        )
        told = [warning for part in found.values() for warning in part.warnings]
        warnings = warnings_of(scores, told, self._unknown(samples), self.feature_net.facts)
        return dataclasses.replace(scores, warnings=tuple(warnings))

    def begin(self, samples: Samples) -> Callable[[], dict[str, float]]:
        """Draws samples and computes all features, and leaves the metrics for later.

        Returns:
            A function that computes the metrics of `score`, with NumPy alone: a thread may call it
            while the generator goes on.

        Raises:
            InputError: see `score`.
        """
        self._wanted(samples)
        outputs = self._extract(samples)
        # Computed here, as later they would be by the thread.
        _ = self._real, self._has_both and self._training_features
        return lambda: _scalars(self._measure(samples, outputs))

    def _extract(self, samples: Samples) -> Outputs:
        """Features and logits of samples in their order."""
        return self._extractor(self._checked(samples), "scored images", len(samples.labels))

    def _measure(self, samples: Samples, outputs: Outputs) -> dict[str, Found]:
        """What the metrics find, by their names."""
        labels = np.asarray(samples.labels)
        names = tuple(samples.class_names)
        fake = LabelledFeatures(outputs.features, outputs.logits, labels, names)
        comparison = Comparison(
            real=self._real,
            fake=fake[canonical_order(labels, names)],
            statistics=lambda: self._reference_statistics,
            training=(lambda: self._training_features) if self._has_both else None,
            known_classes=self.feature_net.class_names,
            kmmd_samples=self.protocol.kmmd_samples,
            seed=self.seed,
        )
        return measure(self._wanted(samples), comparison)

    def _unknown(self, samples: Samples) -> Sequence[str] | None:
        """Classes that the feature network does not know; None: it is no classifier with names."""
        known = set(self.feature_net.class_names)
        return [name for name in samples.class_names if name not in known] if known else None

    def _wanted(self, samples: Samples) -> list[str]:
        """The metrics that were asked for, and last those that come unasked, if they can be had."""
        unknown = self._unknown(samples)
        all_known = unknown is not None and not unknown
        needing = [name for name in self.metrics if get_metric(name).needs_classifier]
        if needing and not all_known:
            raise InputError(
                f"expected a feature network that knows the class {samples.class_names[0]!r} and "
                f"all others for the metric {needing[0]}, got {self.feature_net.name}"
            )
        unasked = [
            name
            for name, metric in zip(METRICS, map(get_metric, METRICS), strict=True)
            if metric.unasked and (all_known or not metric.needs_classifier)
        ]
        return [*(name for name in self.metrics if name not in unasked), *unasked]

    def _facts(self, samples: Samples) -> dict[str, Any]:
        """What the numbers depend on: fields of `Scores`."""
        net, protocol, reference = self.feature_net, self.protocol, self.reference
        accuracy = net.facts.accuracy if net.facts else None
        return {
            "protocol": protocol,
            "features": FeatureFacts(
                net.name, net.fingerprint, net.resolution, net.dim, protocol.resize, accuracy
            ),
            "reference": Reference(reference.name, reference.fingerprint, self.reference_split),
            "num_real": len(reference),
            "num_fake": len(samples.labels),
            "num_kmmd": min(protocol.kmmd_samples or len(samples.labels), len(samples.labels)),
            "bn_statistics": protocol.bn_statistics,
            "standing_batches": protocol.standing_batches,
            "truncation": float(protocol.truncation),
            "seed": int(self.seed),
            "labels": f"{LABEL_RULES[protocol.labels]}, K = {len(samples.class_names)}",
        }

    @functools.cached_property
    def reference_features(self) -> np.ndarray:
        """Features of the reference images, float32 [n, d]."""
        return self._features(self.reference)

    @functools.cached_property
    def _real(self) -> LabelledFeatures:
        features, reference = self.reference_features, self.reference
        nothing = np.zeros((len(reference), 0), np.float32)
        return LabelledFeatures(features, nothing, reference.labels, reference.class_names)

    @functools.cached_property
    def _reference_statistics(self) -> GaussianStatistics:
        return GaussianStatistics.from_features(self.reference_features, "real")

    @property
    def _has_both(self) -> bool:
        """Whether there are training images, and others beside them."""
        return self.training_images is not None and self.reference_split != "train"

    @functools.cached_property
    def _training_features(self) -> np.ndarray:
        return self._features(self.training_images)

    @functools.cached_property
    def _extractor(self) -> Extractor:
        return Extractor(self.feature_net, self.batch_size, self.strategy)

    @functools.cached_property
    def _own_extractor(self) -> Extractor:
        """For what is cached: one host may have it and another not, and then work alone."""
        hosts = self.strategy is not None and self.strategy.cluster_resolver is not None
        return Extractor(self.feature_net, self.batch_size) if hosts else self._extractor

    def _features(self, images: ImageSet) -> np.ndarray:
        cache = ReferenceCache(self.cache_dir)

        def compute() -> Iterator[np.ndarray]:
            extractor = self._own_extractor
            batches = images.batches(extractor.batch_size)
            for outputs in extractor.stream(batches, "real images", len(images)):
                yield outputs.features

        return cache.features(self.feature_net, images.fingerprint, len(images), compute)

    def _checked(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        wanted = self.reference.images.shape[1:]
        for batch in batches:
            if batch.shape[1:] != wanted:
                raise InputError(
                    f"expected generated images of the reference's size {list(wanted)}, got "
                    f"{list(batch.shape[1:])}"
                )
            yield batch

    @property
    def _may_be_copied(self) -> tuple[ImageSet, np.ndarray]:
        """The training images, else the reference images, and their features."""
        if self._has_both:
            return self.training_images, self._training_features
        return self.reference, self.reference_features


def _scalars(found: Mapping[str, Found]) -> dict[str, float]:
    return {name: value for part in found.values() for name, value in part.scalars.items()}
