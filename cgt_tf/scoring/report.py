"""What to tell of scores: when their numbers mislead, and a table for the terminal."""

from collections.abc import Iterable, Sequence

from cgt_tf.features.classifier_facts import ClassifierFacts
from cgt_tf.metrics.metric import HIGHER
from cgt_tf.metrics.registry import directions
from cgt_tf.scoring.scores import FeatureFacts, Scores

_SPLITS = {"train": "the training images", "heldout": "held out", "given": "as given"}


def warnings_of(
    scores: Scores,
    found: Iterable[str],
    unknown: Sequence[str] | None,
    classifier: ClassifierFacts | None = None,
) -> list[str]:
    """One line for each thing that makes numbers less than they seem.

    Args:
        scores: Scores without their warnings.
        found: Warnings of the metrics themselves.
        unknown: Classes that the feature network's classifier does not know; None: no classifier.
        classifier: How well the feature network tells its own classes apart, where it says so.
    """
    poor = classifier.warning() if classifier else None
    warnings, net = [*([poor] if poor else []), *found], scores.features.name
    if scores.reference.split == "train":
        warnings.append(
            "the reference images are the training images: copying them would score best"
        )
        if scores.protocol.base == "run":
            warnings.append("there are no held-out images of every class to compare with")
    if scores.protocol.base == "paper":
        of = "torchvision's Inception-v3, another scale"
        if net != "inception":
            of = f"Inception features, not of {net}"
        warnings.append(f"paper: the published numbers are of {of}")
    if unknown:
        warnings.append(
            f"no accuracy: {net} does not know {len(unknown)} of the classes, such as "
            f"{unknown[0]!r}"
        )
    return warnings


def format_table(scores: Scores) -> str:
    """Scores as lines for a terminal."""
    features, reference = scores.features, scores.reference
    rows = [(name, f"{value:.4f}") for name, value in scores.metrics.items()]
    size = f"{features.dim} at {features.resolution} px ({features.resize})"
    rows += [
        ("protocol", scores.protocol.name),
        ("features", f"{features.name}, {size}"),
        ("", _quality(features)),
        ("real", f"{scores.num_real} images of {reference.name}"),
        ("", f"{_SPLITS[reference.split]}, fingerprint {reference.fingerprint[:16]}"),
        ("scored", f"{scores.num_fake} images of {scores.samples}"),
        ("", f"labels {scores.labels}"),
    ]
    if scores.num_kmmd != scores.num_fake and "kmmd" in scores.metrics:
        rows.append(("", f"{scores.num_kmmd} of them for kmmd"))
    if scores.truncation is not None:
        rows.append(("", f"truncation {scores.truncation:g}, seed {scores.seed}"))
    if scores.checkpoint_step is not None:
        rows.append(("checkpoint", f"step {scores.checkpoint_step}"))
    if scores.bn_statistics is not None:
        batches = scores.standing_batches
        text = f"{scores.bn_statistics} statistics"
        rows.append(("batch norm", text + (f" of {batches} batches" if batches else "")))
    width = max(len(label) for label, _ in rows)
    lines = [f"{label:<{width}} {text}" for label, text in rows]
    warnings = [f"warning: {warning}" for warning in scores.warnings]
    return "\n".join([*lines, *_per_class_lines(scores.per_class), *warnings])


def _quality(features: FeatureFacts) -> str:
    accuracy = features.heldout_accuracy
    known = "" if accuracy is None else f", names {accuracy:.1%} of its own held-out images"
    return f"sha256 {features.fingerprint[:16]}{known}"


def _per_class_lines(per_class: dict[str, dict[str, float]]) -> list[str]:
    """A column for each metric, worst class of the last metric first, the name at the end."""
    if not per_class:
        return []
    last = next(reversed(per_class))
    sign = 1 if directions().get(last) == HIGHER else -1
    names = sorted(per_class[last], key=lambda name: sign * per_class[last][name])
    lines = ["per class, worst first: " + ", ".join(per_class)]
    # The name comes last: its width on a terminal is unknown for other scripts.
    return lines + [
        "  " + "  ".join(f"{values[name]:.4f}" for values in per_class.values()) + f"  {name}"
        for name in names
    ]
