"""One evaluation: the numbers together with everything they depend on.

A number without its feature network, sample counts, reference images, batch-norm statistics and
checkpoint cannot be compared with another one (published values of one model differ by a factor of
two over the batch-norm mode alone), so `Evaluator.score` returns all of it in one dictionary, which
is also valid JSON.
"""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from cgt_tf.config import METRICS
from cgt_tf.data.image_set import ImageSet
from cgt_tf.errors import InputError
from cgt_tf.evaluation.extraction import Extractor, Outputs
from cgt_tf.evaluation.feature_net import FeatureNet
from cgt_tf.evaluation.fid import GaussianStatistics
from cgt_tf.evaluation.generate import LABEL_RULES, SampleFn, draw_labels
from cgt_tf.evaluation.measures import Comparison, Measured, accuracy, measure, unknown_names
from cgt_tf.evaluation.nearest import nearest_images
from cgt_tf.evaluation.protocols import Protocol
from cgt_tf.evaluation.reference_cache import ReferenceCache
from cgt_tf.evaluation.report import warnings_of
from cgt_tf.evaluation.subjects import GeneratedImages, Subject, canonical_order

REFERENCE_SPLITS = ("heldout", "train", "given")


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """What `Evaluator.score` found.

    Attributes:
        result: JSON types; see `Evaluator.score`.
        picture: uint8 [H, W, 3], generated images beside the nearest training images, where the
            metric `nearest` was asked for.
    """

    result: dict[str, Any]
    picture: np.ndarray | None

    @property
    def scalars(self) -> dict[str, float]:
        """The numbers alone, by name."""
        scores = dict(self.result["metrics"])
        if self.result["accuracy"]:
            scores["accuracy"] = self.result["accuracy"]["overall"]
        return scores


@dataclasses.dataclass(eq=False)
class Evaluator:
    """Scores images against one set of real images under one protocol.

    Attributes:
        feature_net: see `features.load_feature_net`; loaded in the scope of `strategy`.
        reference: the real images; their features are computed once and kept.
        protocol: see `protocols`.
        metrics: any of `config.METRICS`. The accuracy is measured besides wherever the feature
            network is a classifier of all classes.
        reference_split: `heldout`, `train` (the generator was trained on these images), or
            `given`: not known.
        training_images: what `nearest` and `intra_cluster` compare with, None: the reference
            images; `fld` needs them beside held-out ones.
        batch_size: images per call of the generator and of the feature network.
        seed: of latents, labels and subsets; the same seed gives the same images.
        strategy: each replica takes its share of a batch.
        cache_dir: of the reference's features; see `files.cache_root`.
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
        unknown = [metric for metric in self.metrics if metric not in METRICS]
        if unknown or not self.metrics:
            raise InputError(f"expected metrics out of {list(METRICS)}, got {list(self.metrics)}")
        if self.reference_split not in REFERENCE_SPLITS:
            raise InputError(
                f"expected a reference out of {REFERENCE_SPLITS}, got {self.reference_split!r}"
            )
        if "fld" in self.metrics and not self._has_both:
            raise InputError(
                "expected held-out images beside those that were trained on for the metric fld, "
                f"got {self.reference.name} ({self.reference_split}) alone"
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
            dim_z: width of a latent.
            class_names: names of the labels 0, 1, ...
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
        self, subject: Subject, name: str, *, checkpoint_step: int | None = None, **facts: Any
    ) -> Evaluation:
        """Computes the metrics of a subject's images and tells what they depend on.

        Args:
            subject: the images to score.
            name: what they are, for people.
            checkpoint_step: training step of the generator, where there is one.
            facts: replace entries of the same names, such as `truncation=None` where images were
                not drawn here.

        Returns:
            An evaluation whose `result` has the keys `protocol`, `subject`, `checkpoint_step`,
            `metrics` {name: value}, `accuracy` (None or `overall` and `per_class`), `per_class`
            {metric: {name: value}}, `feature_net`, `reference`, `num_real`, `num_fake`,
            `num_kmmd`, `bn_statistics`, `standing_batches`, `truncation`, `seed`, `labels` and
            `warnings`.

        Raises:
            InputError: images that are not finite, not in [-1, 1] or of another size than the
                reference images; too few images, or classes that do not match, for a metric.
        """
        outputs = self._extractor(self._checked(subject), "scored images", len(subject.labels))
        order = canonical_order(subject.labels, subject.class_names)
        fake = Measured(outputs[order], subject.labels[order], subject.class_names)
        unknown = unknown_names(self.feature_net.class_names, subject.class_names)
        if "accuracy" in self.metrics and unknown != []:
            raise InputError(
                f"expected a feature network that knows the class {subject.class_names[0]!r} and "
                f"all others for the metric accuracy, got {self.feature_net.name}"
            )
        measures = measure(
            self.metrics,
            Comparison(
                self._real,
                fake,
                lambda: self._reference_statistics,
                (lambda: self._training_features) if self._has_both else None,
                self.protocol.kmmd_samples,
                self.seed,
            ),
        )
        picture = None
        if "nearest" in self.metrics:
            scalars, picture = self._nearest(outputs.features, subject)
            measures.scalars.update(scalars)
        result = {
            "protocol": self.protocol.name,
            "subject": name,
            "checkpoint_step": checkpoint_step,
            "metrics": measures.scalars,
            "accuracy": accuracy(fake, self.feature_net.class_names) if unknown == [] else None,
            "per_class": measures.per_class,
            **self._facts(fake),
            **facts,
        }
        result["warnings"] = warnings_of(result, self.metrics, unknown, self.feature_net.facts)
        return Evaluation(result, picture)

    def _facts(self, fake: Measured) -> dict[str, Any]:
        """What the numbers depend on."""
        net, protocol, reference = self.feature_net, self.protocol, self.reference
        return {
            "feature_net": {
                "name": net.name,
                "fingerprint": net.fingerprint,
                "resolution": net.resolution,
                "dim": net.dim,
                "resize": protocol.resize,
                "heldout_accuracy": net.facts.accuracy if net.facts else None,
            },
            "reference": {
                "name": reference.name,
                "fingerprint": reference.fingerprint,
                "split": self.reference_split,
                "is_training_images": {"train": True, "heldout": False}.get(self.reference_split),
            },
            "num_real": len(reference),
            "num_fake": len(fake.labels),
            "num_kmmd": min(protocol.kmmd_samples or len(fake.labels), len(fake.labels)),
            "bn_statistics": protocol.bn_statistics,
            "standing_batches": protocol.standing_batches,
            "truncation": float(protocol.truncation),
            "seed": int(self.seed),
            "labels": f"{LABEL_RULES[protocol.labels]}, K = {len(fake.class_names)}",
        }

    @functools.cached_property
    def reference_features(self) -> np.ndarray:
        """Features of the reference images, float32 [n, d]."""
        return self._features(self.reference)

    @functools.cached_property
    def _real(self) -> Measured:
        nothing = np.zeros((len(self.reference), 0), np.float32)
        outputs = Outputs(self.reference_features, nothing)
        return Measured(outputs, self.reference.labels, self.reference.class_names)

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

    def _nearest(
        self, features: np.ndarray, subject: Subject
    ) -> tuple[dict[str, float], np.ndarray]:
        """Are generated images copies? Numbers, and a picture of those that come nearest."""
        if self.training_images is None:
            return nearest_images(features, subject, self.reference, self.reference_features)
        heldout = self.reference_features if self.reference_split == "heldout" else None
        images, known = self.training_images, self._training_features
        return nearest_images(features, subject, images, known, heldout)
