"""What a run knows of data, method and scores, in terms that hold away from this machine."""

from pathlib import Path

from cgt_tf.files import read_json
from cgt_tf.runs.snapshots import Snapshot

_EVALUATION = "eval.json"
# Data specs and source handles that mean the same everywhere.
_PUBLIC_KINDS = ("bundled", "tfds", "tfhub")
_SCORES = ("protocol", "metrics", "num_real", "num_fake", "truncation", "bn_statistics")


def of_export(snapshot: Snapshot) -> dict:
    """`data`, `method` and, where the checkpoint has been scored, `scores`, as JSON.

    Of local files and directories the last part of their path is given only.
    """
    record = snapshot.run.record()
    config = record["config"]
    facts = {
        "data": {
            "train": public(config["data"]["train"]),
            "new_classes": {
                name: record["images"].get(name, ["unknown"])[0] for name in snapshot.new_classes
            },
        },
        "method": {
            "name": config["method"]["name"],
            "source": public(config["source"]),
            "checkpoint_step": snapshot.step,
        },
    }
    scores = _scores(snapshot)
    return facts | ({"scores": scores} if scores else {})


def public(spec: str) -> str:
    """A data spec or source handle without the directories above what it names."""
    kind, colon, rest = spec.partition(":")
    if not colon or "/" in kind:
        return Path(spec).name
    if kind in _PUBLIC_KINDS and not rest.startswith(("/", ".", "~")):
        return spec
    return f"{kind}:{Path(rest).name}"


def _scores(snapshot: Snapshot) -> dict:
    """Of eval.json if it is about this checkpoint, else the score of training, else nothing."""
    path = snapshot.run.path / _EVALUATION
    if path.is_file():
        result = read_json(path, "the eval.json that cgt-evaluate wrote")
        if result.get("checkpoint_step") == snapshot.step:
            scores = {name: result[name] for name in _SCORES if name in result}
            features, reference = result.get("features") or {}, result.get("reference") or {}
            scores["features"] = public(str(features.get("name", "")))
            scores["reference_split"] = reference.get("split")
            return scores
    run = snapshot.run
    value = run.scores().get(snapshot.step)
    if value is None:
        return {}
    return {"protocol": "run, while training", "metrics": {run.criterion: value}}
