"""cgt-train: trains a GAN from scratch or transfers one to new classes.

  cgt-train --flagfile=configs/glyphs_transfer.flags --workdir=runs/glyphs
  cgt-train --config.data.train=photos/ --config.source=model:my_gan --workdir=runs/photos

A run that was stopped goes on where its last checkpoint is when the same command is given again.
"""

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


def main(argv):
    common.no_arguments(argv)
    config = _CONFIG.value
    registry.validate(config)
    if not _DRY_RUN.value:
        common.require(_WORKDIR.value, "--workdir", "directory of the run")

    from cgt_tf.cli import session_scores, wiring
    from cgt_tf.runs.run_dir import RunDir
    from cgt_tf.training.hooks import NonFiniteLossError
    from cgt_tf.training.loop import TrainingRun
    from cgt_tf.training.strategy import is_chief

    session = wiring.Session.create(config)
    if _DRY_RUN.value:
        print(json.dumps(configs.to_dict(config), indent=2, ensure_ascii=False))
        print(session.summary())
        return
    print(session.summary(), flush=True)
    run = RunDir(_WORKDIR.value, is_chief(session.strategy))
    training = TrainingRun(
        config,
        run,
        session.strategy,
        session.method,
        session.networks,
        session.train_images,
        session_scores.training_scores(session) if config.evaluation.every else None,
    )
    # After all that bad input can stop, so that nothing is written then.
    run.open(config, session.networks.class_names)
    try:
        training.train()
    except NonFiniteLossError as error:
        print(f"cgt-train: stopped: {error}; the last checkpoint is kept", file=sys.stderr)
        return 1
    print(f"samples: {run.samples}")
    print(f"next: cgt-evaluate --workdir={run.path}")
    return 0


def entry_point():
    common.run(main, "cgt-train", __doc__, check=config_flag.check_foreign_knobs)


if __name__ == "__main__":
    entry_point()
