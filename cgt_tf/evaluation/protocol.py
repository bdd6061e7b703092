"""One evaluation of a generator: the numbers together with everything they depend on.

A FID without its feature network, sample counts, reference images, batch-norm statistics and
checkpoint cannot be compared with another one (published values of one model differ by a factor of
two over the batch-norm mode alone), so `Evaluator.evaluate` returns all of it in one dictionary,
which is also valid JSON.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from cgt_tf.config import METRICS
from cgt_tf.errors import InputError
from cgt_tf.evaluation import features, generate
from cgt_tf.evaluation.fid import GaussianStatistics
from cgt_tf.evaluation.kmmd import kernel_mmd

BN_STATISTICS = ("running", "standing")


class Reference(Protocol):
    """What the evaluator needs of an image set.

    Attributes:
        images: uint8 [n, H, W, 3].
        name: for people.
        fingerprint: identifies the content.
    """

    images: np.ndarray
    name: str

    @property
    def fingerprint(self) -> str: ...


@dataclasses.dataclass(eq=False)
class Evaluator:
    """Measures generators against one set of real images under one fixed protocol.

    Attributes:
        feature_net: see `features.load_feature_net`.
        reference: the real images; their features are computed once and kept.
        num_samples: number of images to generate, at least 2 and one per class.
        metrics: any of "fid", "kmmd".
        batch_size: images per call of the generator and of the feature network.
        seed: seed of the latents; the same seed gives the same images.
        reference_is_training: whether the generator was trained on the reference images, as in
            all numbers that the cGANTransfer paper reports.
    """

    feature_net: features.FeatureNet
    reference: Reference
    num_samples: int
    metrics: Sequence[str] = METRICS
    batch_size: int = 100
    seed: int = 0
    reference_is_training: bool = dataclasses.field(kw_only=True)

    def __post_init__(self) -> None:
        unknown = [metric for metric in self.metrics if metric not in METRICS]
        if unknown or not self.metrics:
            raise InputError(f"expected metrics out of {list(METRICS)}, got {list(self.metrics)}")
        if self.num_samples < 2:
            raise InputError(f"expected at least 2 generated samples, got {self.num_samples}")
        if len(features.check_images(self.reference.images)) < 2:
            raise InputError(f"expected at least 2 reference images in {self.reference.name}")

    @functools.cached_property
    def reference_features(self) -> np.ndarray:
        """Features of the reference images, float32 [n, d]."""
        return features.extract(self.feature_net, self.reference.images, self.batch_size)

    @functools.cached_property
    def _reference_statistics(self) -> GaussianStatistics:
        return GaussianStatistics.from_features(self.reference_features, "real")

    def evaluate(
        self,
        sample_fn: generate.SampleFn,
        num_classes: int,
        dim_z: int,
        *,
        checkpoint_step: int,
        bn_statistics: str,
        truncation: float = 1.0,
        class_names: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """Generates images, computes the metrics and returns them with the protocol.

        Args:
            sample_fn: z float32 [B, dim_z], labels int32 [B] -> images float32 [B, H, W, 3] in
                [-1, 1], of the reference images' size; called with `batch_size` rows only.
            num_classes: labels are 0 to num_classes - 1, drawn in equal numbers.
            dim_z: width of a latent.
            checkpoint_step: training step of the weights behind `sample_fn`.
            bn_statistics: "running" or "standing": the batch-norm statistics that `sample_fn` uses.
            truncation: in (0, 1]; see `generate.draw_latents`.
            class_names: names of the labels. If the feature network is a classifier that knows all
                of them, the accuracy of the generated labels is measured too.

        Returns:
            A dictionary of JSON types with the keys `metrics` {name: value}, `accuracy` (None or
            `overall` and `per_class` {name: value}), `feature_net`, `reference`, `num_real`,
            `num_fake`, `checkpoint_step`, `bn_statistics`, `truncation`, `seed`, `labels` and
            `warnings`.

        Raises:
            InputError: an argument outside its range, or generated images that are not finite,
                not in [-1, 1] or of another size than the reference images.
        """
        self._check(num_classes, bn_statistics, class_names)
        labels, fake, predictions = self._generate(sample_fn, num_classes, dim_z, truncation)
        accuracy = None
        if self._unknown_classes(class_names) == []:
            accuracy = self._accuracy(labels, predictions, class_names)
        net = self.feature_net
        return {
            "metrics": {metric: self._measure(metric, fake) for metric in self.metrics},
            "accuracy": accuracy,
            "feature_net": {
                "name": net.name,
                "fingerprint": net.fingerprint,
                "resolution": net.resolution,
                "dim": net.dim,
                "resize": features.RESIZE,
            },
            "reference": {
                "name": self.reference.name,
                "fingerprint": self.reference.fingerprint,
                "is_training_images": self.reference_is_training,
            },
            "num_real": len(self.reference_features),
            "num_fake": len(fake),
            "checkpoint_step": int(checkpoint_step),
            "bn_statistics": bn_statistics,
            "truncation": float(truncation),
            "seed": int(self.seed),
            "labels": f"{generate.LABEL_SAMPLING}, K = {num_classes}",
            "warnings": self._warnings(class_names),
        }

    def _check(
        self, num_classes: int, bn_statistics: str, class_names: Sequence[str] | None
    ) -> None:
        if bn_statistics not in BN_STATISTICS:
            raise InputError(
                f"expected bn_statistics out of {list(BN_STATISTICS)}, got {bn_statistics!r}"
            )
        if self.num_samples < num_classes:
            raise InputError(
                f"expected at least one sample for each of {num_classes} classes, got "
                f"{self.num_samples} samples"
            )
        if class_names is not None and len(class_names) != num_classes:
            raise InputError(f"expected {num_classes} class names, got {len(class_names)}")

    def _generate(
        self, sample_fn: generate.SampleFn, num_classes: int, dim_z: int, truncation: float
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Labels [n], features [n, d] and predicted classes [n] of the generated images."""
        labels = []

        def images() -> Iterator[np.ndarray]:
            for batch, batch_labels in generate.generate_images(
                sample_fn,
                self.num_samples,
                num_classes,
                self.batch_size,
                self.seed,
                dim_z,
                truncation,
            ):
                if batch.shape[1:] != self.reference.images.shape[1:]:
                    raise InputError(
                        "expected generated images of the reference's size "
                        f"{list(self.reference.images.shape[1:])}, got {list(batch.shape[1:])}"
                    )
                labels.append(batch_labels)
                yield batch

        fake, predictions = features.extract_with_predictions(
            self.feature_net, images(), self.batch_size
        )
        return np.concatenate(labels), fake, predictions

    def _measure(self, metric: str, fake: np.ndarray) -> float:
        if metric == "kmmd":
            return kernel_mmd(self.reference_features, fake)
        statistics = GaussianStatistics.from_features(fake, "generated")
        return self._reference_statistics.distance(statistics)

    def _unknown_classes(self, class_names: Sequence[str] | None) -> list[str] | None:
        """The names that the feature network's classifier does not know; None: no classifier."""
        if class_names is None or not self.feature_net.class_names:
            return None
        known = set(self.feature_net.class_names)
        return [name for name in class_names if name not in known]

    def _accuracy(
        self, labels: np.ndarray, predictions: np.ndarray, class_names: Sequence[str]
    ) -> dict[str, Any]:
        index = {name: position for position, name in enumerate(self.feature_net.class_names)}
        wanted = np.array([index[name] for name in class_names])
        correct = predictions == wanted[labels]
        return {
            "overall": float(correct.mean()),
            "per_class": {
                name: float(correct[labels == label].mean())
                for label, name in enumerate(class_names)
            },
        }

    def _warnings(self, class_names: Sequence[str] | None) -> list[str]:
        warnings = []
        dim = self.feature_net.dim
        counts = {"real": len(self.reference_features), "generated": self.num_samples}
        for kind, count in counts.items():
            if "fid" in self.metrics and count <= dim:
                warnings.append(
                    f"fid: {count} {kind} images for {dim} features: the covariance is singular "
                    "and the value strongly biased; compare at equal counts only"
                )
        if self.reference_is_training:
            warnings.append(
                "the reference images are the training images: copying them would score best"
            )
        unknown = self._unknown_classes(class_names)
        if unknown:
            warnings.append(
                f"no accuracy: {self.feature_net.name} does not know {len(unknown)} "
                f"of the classes, such as {unknown[0]!r}"
            )
        return warnings


def format_table(result: dict[str, Any]) -> str:
    """The result of `Evaluator.evaluate` as lines for a terminal."""
    net, reference, accuracy = result["feature_net"], result["reference"], result["accuracy"]
    rows = [(name.upper(), f"{value:.4f}") for name, value in result["metrics"].items()]
    if accuracy:
        rows.append(("accuracy", f"{accuracy['overall']:.4f}"))
    training = "the training images" if reference["is_training_images"] else "held out"
    rows += [
        ("features", f"{net['name']}, {net['dim']} at {net['resolution']} px ({net['resize']})"),
        ("", f"sha256 {net['fingerprint'][:16]}"),
        ("real", f"{result['num_real']} images of {reference['name']} ({training})"),
        ("", f"fingerprint {reference['fingerprint'][:16]}"),
        ("generated", f"{result['num_fake']} images, labels {result['labels']}"),
        ("", f"truncation {result['truncation']:g}, seed {result['seed']}"),
        ("checkpoint", f"step {result['checkpoint_step']}"),
        ("batch norm", f"{result['bn_statistics']} statistics"),
    ]
    lines = [f"{label:<11} {text}" for label, text in rows]
    if accuracy:
        lines.append("accuracy per class, lowest first")
        per_class = sorted(accuracy["per_class"].items(), key=lambda item: item[1])
        # The name comes last: its width on a terminal is unknown for other scripts.
        lines += [f"  {value:.4f}  {name}" for name, value in per_class]
    return "\n".join(lines + [f"warning: {text}" for text in result["warnings"]])
