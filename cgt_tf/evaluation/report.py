"""What to tell of an evaluation: when its numbers mislead, and a table for the terminal."""

from collections.abc import Sequence
from typing import Any

from cgt_tf.evaluation.classifier_facts import ClassifierFacts
from cgt_tf.evaluation.fld import is_copying

_HIGH_IS_GOOD = ("accuracy", "diversity", "diversity_of_real", "variance_ratio")


def warnings_of(
    result: dict[str, Any],
    metrics: Sequence[str],
    unknown: Sequence[str] | None,
    classifier: ClassifierFacts | None = None,
) -> list[str]:
    """One line for each thing that makes the numbers of a result less than they seem.

    Args:
        result: as `Evaluator.score` returns it, without its warnings.
        metrics: that were asked for.
        unknown: classes that the feature network's classifier does not know; None: no classifier.
        classifier: how well the feature network tells its own classes apart, where it says so.
    """
    poor = classifier.warning() if classifier else None
    warnings = [poor] if poor else []
    dim, net = result["feature_net"]["dim"], result["feature_net"]["name"]
    for kind, count in {"real": result["num_real"], "generated": result["num_fake"]}.items():
        if "fid" in metrics and count <= dim:
            warnings.append(
                f"fid: {count} {kind} images for {dim} features: the covariance is singular "
                "and the value strongly biased; compare at equal counts only"
            )
    if "intra_fid" in metrics:
        warnings.append(
            f"intra_fid: few images a class for {dim} features: biased; compare at equal counts "
            "only, or use intra_kid"
        )
    scores = result["metrics"]
    if "fld" in scores and is_copying(scores["fld"], scores["fld_gap"], scores["fld_gap_error"]):
        warnings.append(
            f"copying: the generated images fit the training images much better than held-out ones "
            f"(fld {scores['fld']:.4g}, fld_gap {scores['fld_gap']:.4g}); see them with the metric "
            "nearest"
        )
    split = result["reference"]["split"]
    if split == "train":
        warnings.append(
            "the reference images are the training images: copying them would score best"
        )
        if result["protocol"].split(",")[0] == "run":
            warnings.append("there are no held-out images of every class to compare with")
    if result["protocol"].split(",")[0] == "paper" and net != "inception":
        warnings.append(f"paper: the published numbers are of Inception features, not of {net}")
    elif result["protocol"].split(",")[0] == "paper":
        warnings.append(
            "paper: the published numbers are of torchvision's Inception-v3, another scale"
        )
    if unknown:
        warnings.append(
            f"no accuracy: {net} does not know {len(unknown)} of the classes, such as "
            f"{unknown[0]!r}"
        )
    return warnings


def format_table(result: dict[str, Any]) -> str:
    """The result of `Evaluator.score` as lines for a terminal."""
    net, reference, accuracy = result["feature_net"], result["reference"], result["accuracy"]
    rows = [(name, f"{value:.4f}") for name, value in result["metrics"].items()]
    if accuracy:
        rows.append(("accuracy", f"{accuracy['overall']:.4f}"))
    splits = {"train": "the training images", "heldout": "held out", "given": "as given"}
    rows += [
        ("protocol", result["protocol"]),
        ("features", f"{net['name']}, {net['dim']} at {net['resolution']} px ({net['resize']})"),
        ("", _quality(net)),
        ("real", f"{result['num_real']} images of {reference['name']}"),
        ("", f"{splits[reference['split']]}, fingerprint {reference['fingerprint'][:16]}"),
        ("scored", f"{result['num_fake']} images of {result['subject']}"),
        ("", f"labels {result['labels']}"),
    ]
    if result["num_kmmd"] != result["num_fake"] and "kmmd" in result["metrics"]:
        rows.append(("", f"{result['num_kmmd']} of them for kmmd"))
    if result["truncation"] is not None:
        rows.append(("", f"truncation {result['truncation']:g}, seed {result['seed']}"))
    if result["checkpoint_step"] is not None:
        rows.append(("checkpoint", f"step {result['checkpoint_step']}"))
    if result["bn_statistics"] is not None:
        batches = result["standing_batches"]
        text = f"{result['bn_statistics']} statistics"
        rows.append(("batch norm", text + (f" of {batches} batches" if batches else "")))
    width = max(len(label) for label, _ in rows)
    lines = [f"{label:<{width}} {text}" for label, text in rows]
    per_class = dict(result["per_class"])
    if accuracy:
        per_class["accuracy"] = accuracy["per_class"]
    return "\n".join(
        [*lines, *_per_class_lines(per_class), *(f"warning: {w}" for w in result["warnings"])]
    )


def _quality(net: dict[str, Any]) -> str:
    accuracy = net["heldout_accuracy"]
    known = "" if accuracy is None else f", names {accuracy:.1%} of its own held-out images"
    return f"sha256 {net['fingerprint'][:16]}{known}"


def _per_class_lines(per_class: dict[str, dict[str, float]]) -> list[str]:
    """A column for each metric, worst class of the last metric first, the name at the end."""
    if not per_class:
        return []
    last = next(reversed(per_class))
    # Distances: the largest are worst; what tells of variety or of the right class: the smallest.
    sign = 1 if last in _HIGH_IS_GOOD else -1
    names = sorted(per_class[last], key=lambda name: sign * per_class[last][name])
    lines = ["per class, worst first: " + ", ".join(per_class)]
    # The name comes last: its width on a terminal is unknown for other scripts.
    return lines + [
        "  " + "  ".join(f"{values[name]:.4f}" for values in per_class.values()) + f"  {name}"
        for name in names
    ]
