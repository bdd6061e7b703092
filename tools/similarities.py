"""Prints which old classes the new classes of a cgan_transfer run are made of.

  python tools/similarities.py --workdir=runs/demo --top=5

For every new class: the old classes with the largest of the kept scores, summed over layers and
relative to their sum, and what share of its offsets the --top largest scores of each layer make.
The run is only read. It needs scores of each layer's own, residuals, and no spectral norm.
"""

import numpy as np
from absl import flags
from keras import ops

from cgt_tf.cli import common
from cgt_tf.errors import InputError
from cgt_tf.methods.cgan_transfer import CGANTransfer
from cgt_tf.methods.sparse_scores import keep_top_scores
from cgt_tf.training.saved_run import SavedRun

_WORKDIR = flags.DEFINE_string("workdir", None, "A run of cgan_transfer.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best, last or a step.")
_TOP = flags.DEFINE_integer("top", 5, "Scores to keep.", lower_bound=1)


def main(argv):
    common.no_arguments(argv)
    common.require(_WORKDIR.value, "--workdir", "a run of cgan_transfer")
    run = SavedRun.open(_WORKDIR.value, _CHECKPOINT.value)
    if not (isinstance(run.method, CGANTransfer) and run.config.method.per_layer_scores):
        raise InputError("expected a run of cgan_transfer with method.per_layer_scores")
    norms = run.gan.generator.conditional_norms()
    parts = [part for norm in norms for part in (norm.scale, norm.shift)]
    shares = np.stack([keep_top_scores(part, _TOP.value) for part in parts])
    scores = sum(np.abs(ops.convert_to_numpy(part.scores.kernel)) for part in parts)
    old_names = run.method.source_names
    for label, name in enumerate(run.gan.class_names):
        column = scores[:, label] / scores[:, label].sum()
        nearest = np.argsort(-column, kind="stable")[: _TOP.value]
        text = ", ".join(f"{old_names[i]} {column[i]:.2f}" for i in nearest)
        print(f"{name}: {text}; share of the offsets {shares[:, label].mean():.2f}")


if __name__ == "__main__":
    common.run(main, "similarities", __doc__)
