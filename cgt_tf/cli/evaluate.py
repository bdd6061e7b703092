"""cgt-evaluate: scores a run, a SavedModel, or images against real images.

  cgt-evaluate --workdir=runs/glyphs
  cgt-evaluate --workdir=runs/photos --checkpoint=last --data=heldout/ --protocol=fid5k_heldout
  cgt-evaluate --model=served/photos --data=heldout/ --output=scores.json
  cgt-evaluate --real=heldout/ --fake=samples/ --features=inception --metrics=fid,kid

Prints a table; a run gets eval.json and TensorBoard scalars too. Options that depart from a named
protocol become part of the name that is stored with the numbers.
"""

from pathlib import Path

from absl import flags

from cgt_tf.cli import common
from cgt_tf.config import LABEL_SAMPLINGS, METRICS, PROTOCOLS, STRATEGIES
from cgt_tf.errors import InputError

_WORKDIR = flags.DEFINE_string("workdir", "", "Directory of a run of cgt-train.")
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", "best", "Of a run: best (lowest FID), last, a step."
)
_MODEL = flags.DEFINE_string("model", "", "SavedModel of cgt-export, or its base directory.")
_REAL = flags.DEFINE_string("real", "", "Real images: data spec or folder; with --fake.")
_FAKE = flags.DEFINE_string("fake", "", "Images to score: data spec or folder; with --real.")
_DATA = flags.DEFINE_string("data", "", "Real images for --model, or instead of a run's own.")
_CLASSES = flags.DEFINE_list("classes", [], "Of --data, or of --real and --fake; default: all.")
_RESOLUTION = flags.DEFINE_integer("resolution", 0, "Side that --real and --fake are brought to.")
_PROTOCOL = flags.DEFINE_enum("protocol", "", ["", *PROTOCOLS], "Default: the run's.")
_METRICS = flags.DEFINE_list("metrics", [], f"Of {', '.join(METRICS)}; default: the run's.")
_FEATURES = flags.DEFINE_string("features", "", "Feature network; default: the run's, else auto.")
_FORCE = flags.DEFINE_bool("force_features", False, "Allow glyph features for other images.")
_NUM_SAMPLES = flags.DEFINE_integer("num_samples", None, "Scored images; default: the protocol's.")
_LABELS = flags.DEFINE_enum("labels", None, LABEL_SAMPLINGS, "Default: the protocol's.")
_TRUNCATION = flags.DEFINE_float("truncation", None, "In (0, 1]; default: the protocol's.")
_STANDING = flags.DEFINE_integer("standing_batches", None, "0: running batch-norm statistics.")
_SEED = flags.DEFINE_integer("seed", None, "Default: the run's, else 0.", lower_bound=0)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 0, "Default: the run's.", lower_bound=0)
_STRATEGY = flags.DEFINE_enum("strategy", "one_device", STRATEGIES, "Where to compute.")
_CACHE_DIR = flags.DEFINE_string("cache_dir", "", "Default: $CGT_TF_CACHE, else ~/.cache/cgt_tf.")
_OUTPUT = flags.DEFINE_string("output", "", "JSON file; default: eval.json of a run.")
_TRUST = flags.DEFINE_bool("trust", False, "Load a SavedModel that a run's own config.json names.")
_SAVE_SAMPLES = flags.DEFINE_string("save_samples", "", "Directory for the scored images.")


def main(argv):
    common.no_arguments(argv)
    mode = _mode()
    for metric in _METRICS.value:
        if metric not in METRICS:
            raise InputError(f"--metrics must be of {', '.join(METRICS)}, got {metric!r}")
    output = Path(_OUTPUT.value) if _OUTPUT.value else None
    if output and (output.is_dir() or not output.absolute().parent.is_dir()):
        raise InputError(f"--output must be a file in an existing directory, got {output}")
    for path, flag in ((_OUTPUT.value, "--output"), (_SAVE_SAMPLES.value, "--save_samples")):
        if path:
            common.check_output(path, flag)
    common.check_finite(_TRUNCATION.value, "--truncation")

    from cgt_tf.cli import scoring
    from cgt_tf.evaluation.report import format_table

    request, run = _request(scoring.Request), None
    if mode == "workdir":
        evaluation, run = scoring.score_run(_WORKDIR.value, _CHECKPOINT.value, request)
    elif mode == "model":
        evaluation = scoring.score_saved_model(_MODEL.value, request)
    else:
        evaluation = scoring.score_images(_REAL.value, _FAKE.value, request)
    print(format_table(evaluation.result))
    for path in scoring.write(evaluation, output, run):
        print(f"written to {path}")


def _mode() -> str:
    given = [flag.name for flag in (_WORKDIR, _MODEL, _REAL, _FAKE) if flag.value]
    if given not in (["workdir"], ["model"], ["real", "fake"]):
        raise InputError(
            "expected --workdir=<run>, or --model=<SavedModel> and --data=<spec>, or --real=<spec> "
            f"and --fake=<spec>, got {' and '.join(f'--{name}' for name in given) or 'none'}"
        )
    return given[0]


def _request(kind):
    changes = (_NUM_SAMPLES, _LABELS, _TRUNCATION, _STANDING)
    same = (_FEATURES, _BATCH_SIZE, _PROTOCOL, _DATA, _RESOLUTION, _SEED, _STRATEGY, _CACHE_DIR)
    return kind(
        metrics=tuple(_METRICS.value),
        classes=tuple(_CLASSES.value),
        save_samples=_SAVE_SAMPLES.value,
        trust=_TRUST.value,
        force_features=_FORCE.value,
        changes={flag.name: flag.value for flag in changes},
        **{flag.name: flag.value for flag in same},
    )


def entry_point():
    common.run(main, "cgt-evaluate", __doc__)


if __name__ == "__main__":
    entry_point()
