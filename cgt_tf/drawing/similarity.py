"""How much each old class has in a new one: the scores that a run has learnt, layer by layer."""

import numpy as np

from cgt_tf.runs.checkpoints import read_networks
from cgt_tf.runs.snapshots import Snapshot

_SCORES = "scores/kernel"


def of_run(snapshot: Snapshot) -> dict | None:
    """Shares of old classes in new ones.

    Args:
        snapshot: The model at a checkpoint whose training state is there.

    Returns:
        `old` and `new` class names; `layers` {name: shares}; `total`, their mean. Shares are
        |scores| [M new, N old], divided by their sum over the old classes. None for a run that has
        no scores of all old classes.
    """
    new = list(snapshot.new_classes)
    old = [name for name in snapshot.gan.class_names if name not in set(new)]
    values = read_networks(snapshot.run, snapshot.step).get("generator", {})
    layers = {}
    for name, value in sorted(values.items()):
        if name.endswith(_SCORES) and value.shape == (len(old), len(new)) and old:
            weights = np.abs(value).T
            shares = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-12)
            layers[name.removesuffix(f"/{_SCORES}")] = shares.round(5).tolist()
    if not layers:
        return None
    total = np.mean(list(layers.values()), axis=0).round(5).tolist()
    return {"old": old, "new": new, "layers": layers, "total": total}


def nearest(shares: dict, name: str) -> list[str]:
    """The old classes that a new one takes most of, in order.

    Args:
        shares: Of `of_run`.
        name: A new class.
    """
    row = np.array(shares["total"][shares["new"].index(name)])
    return [shares["old"][i] for i in np.argsort(-row, kind="stable")]
