"""Prints which old classes the new classes of a cgan_transfer run are made of.

  python tools/similarities.py --workdir=runs/demo --top=5

For every new class: the old classes with the largest of the kept scores, summed over layers and
relative to their sum, and what share of its offsets the --top largest scores of each layer make.
The run is only read. It needs scores of each layer's own, residuals, all old classes as
pseudo-classes, and no spectral norm.
"""

import numpy as np
from absl import flags

from cgt_tf.cli import common
from cgt_tf.errors import InputError
from cgt_tf.methods.registry import config_from_dict
from cgt_tf.methods.sparse_scores import keep_top_scores
from cgt_tf.runs.checkpoints import read_networks
from cgt_tf.runs.handles import load_source
from cgt_tf.runs.snapshots import Snapshot, open_snapshot

_WORKDIR = flags.DEFINE_string("workdir", None, "A run of cgan_transfer.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best, last or a step.")
_TOP = flags.DEFINE_integer("top", 5, "Scores to keep.", lower_bound=1)

_PARTS = ("prior/kernel", "scores/kernel", "residual")
_SETTINGS = {
    "propagate": True,
    "residual": True,
    "per_layer_scores": True,
    "spectral_norm": False,
    "prior_init": "old",
    "prior_classes": 0,
}


def check(config) -> None:
    """`InputError` for a run whose scores and offsets cannot be told apart."""
    if config.method.name != "cgan_transfer":
        raise InputError(f"expected a run of cgan_transfer, got one of {config.method.name}")
    for name, needed in _SETTINGS.items():
        value = getattr(config.cgan_transfer, name)
        if value != needed:
            raise InputError(
                f"expected a run with --config.cgan_transfer.{name}={needed}, got {value}"
            )


def old_classes(snapshot: Snapshot, source: str) -> list[str]:
    """Names of the classes that the scores are of; a fine-tuned run holds the new ones alone."""
    new = set(snapshot.new_classes)
    names = [name for name in snapshot.gan.class_names if name not in new]
    return names or load_source(source).class_names


def main(argv):
    common.no_arguments(argv)
    common.require(_WORKDIR.value, "--workdir", "a run of cgan_transfer")
    snapshot = open_snapshot(_WORKDIR.value, _CHECKPOINT.value)
    config = config_from_dict(snapshot.run.config())
    check(config)
    values = read_networks(snapshot.run, snapshot.step)["generator"]
    layers = sorted(x.removesuffix(_PARTS[1]) for x in values if x.endswith(_PARTS[1]))
    parts = ([values[layer + part] for part in _PARTS] for layer in layers)
    kept, _, shares = zip(*(keep_top_scores(*part, _TOP.value) for part in parts), strict=True)
    scores, shares = sum(map(np.abs, kept)), np.mean(shares, axis=0)
    names = old_classes(snapshot, config.source)
    for label, name in enumerate(snapshot.new_classes):
        column = scores[:, label] / scores[:, label].sum()
        nearest = np.argsort(-column, kind="stable")[: _TOP.value]
        text = ", ".join(f"{names[i]} {column[i]:.2f}" for i in nearest)
        print(f"{name}: {text}; share of the offsets {shares[label]:.2f}")


if __name__ == "__main__":
    common.run(main, "similarities", __doc__)
