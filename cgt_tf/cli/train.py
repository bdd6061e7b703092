"""cgt-train: trains a GAN from scratch or transfers one to new classes.

  cgt-train --preset=glyphs_transfer --workdir=runs/glyphs
  cgt-train --flagfile=my.flags --config.training.steps=1000 --workdir=runs/mine
  cgt-train --config.data.train=photos/ --config.source=model:my_gan --workdir=runs/photos

A run that was stopped goes on where its last checkpoint is when the same command is given again.
A preset is a flagfile that comes with the package; the index of all is configs/README.md.
"""

import functools
import sys

from absl import flags

from cgt_tf.cli import common, config_flag
from cgt_tf.methods import registry

_CONFIG = config_flag.define_run_config()
_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the run; new, or one to resume.")
_DRY_RUN = flags.DEFINE_bool(
    "dry_run",
    False,
    "Print the class map, what a few timed steps say of time and memory, and parameter counts, "
    "and stop; with --verbosity=1 the resolved config as well.",
)
_SELFCHECK = flags.DEFINE_bool(
    "selfcheck", False, "Compare two steps under --config.training.strategy with one CPU, and stop."
)


def main(argv):
    common.no_arguments(argv)
    config = _CONFIG.value
    if _SELFCHECK.value:
        from cgt_tf.training.selfcheck import selfcheck

        lines, agrees = selfcheck(config)
        print(*lines, sep="\n")
        return 0 if agrees else 1
    registry.validate(config)
    if not _DRY_RUN.value:
        common.require(_WORKDIR.value, "--workdir", "directory of the run")

        from cgt_tf.runs.run_dir import RunDir

        RunDir(_WORKDIR.value).check_place()  # Building the networks takes a while.

    from cgt_tf.scoring.of_runs import training_scores
    from cgt_tf.training.hooks import DivergedError
    from cgt_tf.training.session import Session
    from cgt_tf.training.stopping import StoppedError

    session = Session.create(config)
    if _DRY_RUN.value:
        from cgt_tf.training.estimate import dry_run

        for part in dry_run(session, with_config=flags.FLAGS.verbosity > 0):
            print(part, flush=True)
        return 0
    print(session.summary(), flush=True)
    scores = training_scores(session, functools.partial(print, flush=True))
    try:
        session.train(_WORKDIR.value, scores)
    except DivergedError as error:
        print(f"cgt-train: stopped: {error}", file=sys.stderr)
        return 1
    except StoppedError as error:
        print(f"cgt-train: {error}; the same command goes on from there", file=sys.stderr)
        return 128 + error.signum
    return 0


def entry_point():
    common.run(main, "cgt-train", __doc__, check=config_flag.check_foreign_knobs)


if __name__ == "__main__":
    entry_point()
