"""cgt-train: trains a GAN from scratch or transfers one to new classes.

  cgt-train --preset=glyphs_transfer --workdir=runs/glyphs
  cgt-train --flagfile=my.flags --config.training.steps=1000 --workdir=runs/mine
  cgt-train --config.data.train=photos/ --config.source=model:my_gan --workdir=runs/photos

A run that was stopped goes on where its last checkpoint is when the same command is given again.
A preset is a flagfile that comes with the package; the index of all is configs/README.md.
"""

import functools
import json
import sys

from absl import flags

from cgt_tf import config as configs
from cgt_tf.cli import common, config_flag
from cgt_tf.methods import registry

_CONFIG = config_flag.define_run_config()
_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of the run; new, or one to resume.")
_DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Print the resolved config, the class map and parameter counts, and stop."
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
        print("\n".join(lines))
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
        print(json.dumps(configs.to_dict(config), indent=2, ensure_ascii=False))
    print(session.summary(), flush=True)
    if _DRY_RUN.value:
        return 0
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
