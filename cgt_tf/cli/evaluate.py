"""cgt-evaluate: scores a checkpoint of a run against real images.

  cgt-evaluate --workdir=runs/glyphs
  cgt-evaluate --workdir=runs/photos --checkpoint=last --data=photos_heldout/ --num_samples=5000

Prints a table and writes eval.json into the run's directory.
"""

import dataclasses
import json

from absl import flags

from cgt_tf.cli import common
from cgt_tf.config import METRICS
from cgt_tf.errors import InputError

_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of a run of cgt-train.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best (lowest FID), last, or a step.")
_DATA = flags.DEFINE_string("data", "", "Real images instead of the run's own, as a data spec.")
_METRICS = flags.DEFINE_list("metrics", [], f"Of {', '.join(METRICS)}; default: the run's.")
_FEATURES = flags.DEFINE_string("features", "", "Feature network instead of the run's.")
_NUM_SAMPLES = flags.DEFINE_integer("num_samples", 0, "Generated images; default: the run's.")


def main(argv):
    common.no_arguments(argv)
    common.require(_WORKDIR.value, "--workdir", "directory of a run")
    for metric in _METRICS.value:
        if metric not in METRICS:
            raise InputError(f"--metrics must be of {', '.join(METRICS)}, got {metric!r}")

    from cgt_tf.cli import wiring
    from cgt_tf.evaluation.protocol import format_table
    from cgt_tf.training.run_dir import write_atomically

    run, session, step = wiring.open_run(
        _WORKDIR.value, _CHECKPOINT.value, images=True, heldout=_DATA.value
    )
    changes = {
        "metrics": tuple(_METRICS.value),
        "features": _FEATURES.value,
        "num_samples": _NUM_SAMPLES.value,
    }
    session.config.evaluation = dataclasses.replace(
        session.config.evaluation, **{name: value for name, value in changes.items() if value}
    )
    result = session.evaluate(session.evaluator(), session.sample_function(), step)
    text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
    write_atomically(run.path / "eval.json", text)
    print(format_table(result))
    print(f"written to {run.path / 'eval.json'}")


def entry_point():
    common.run(main, "cgt-evaluate", __doc__)


if __name__ == "__main__":
    entry_point()
