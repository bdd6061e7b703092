"""cgt-evaluate: scores a run, a SavedModel, or images against real images.

  cgt-evaluate --workdir=runs/glyphs
  cgt-evaluate --workdir=runs/photos --checkpoint=last --data=heldout/ --protocol=fid5k_heldout
  cgt-evaluate --model=served/photos --data=heldout/ --output=scores.json
  cgt-evaluate --real=heldout/ --fake=samples/ --training=photos/ --metrics=fid,kid,fld

Prints a table; a run gets eval.json and TensorBoard scalars too. Options that depart from a named
protocol become part of the name that is stored with the numbers.
"""

from pathlib import Path

from absl import flags

from cgt_tf.cli import common
from cgt_tf.config import LABEL_SAMPLINGS, PROTOCOLS, STRATEGIES
from cgt_tf.errors import InputError
from cgt_tf.metrics.registry import METRICS
from cgt_tf.scoring.request import Request

flags.DEFINE_string("workdir", "", "Directory of a run of cgt-train.")
flags.DEFINE_string("checkpoint", "best", "Of a run: best, last, a step.")
flags.DEFINE_string("model", "", "SavedModel of cgt-export, or its base directory.")
flags.DEFINE_string("real", "", "Real images: data spec or folder; with --fake.")
flags.DEFINE_string("fake", "", "Images to score: data spec or folder; with --real.")
flags.DEFINE_string("data", "", "Real images for --model, or instead of a run's own.")
flags.DEFINE_string("training", "", "Training images, with --model or --real; for fld and nearest.")
flags.DEFINE_list("classes", [], "Of --data, or of --real and --fake; default: all.")
flags.DEFINE_integer("resolution", 0, "Side that --real and --fake are brought to.")
flags.DEFINE_enum("protocol", "", ["", *PROTOCOLS], "Default: the run's.")
flags.DEFINE_list("metrics", [], f"Of {', '.join(METRICS)}; default: the run's.")
flags.DEFINE_string("features", "", "Feature network; default: the run's, else auto.")
flags.DEFINE_bool("force_features", False, "Allow glyph features for other images.")
flags.DEFINE_integer("num_samples", None, "Scored images; default: the protocol's.")
flags.DEFINE_enum("labels", None, LABEL_SAMPLINGS, "Default: the protocol's.")
_TRUNCATION = flags.DEFINE_float("truncation", None, "In (0, 1]; default: the protocol's.")
flags.DEFINE_integer("standing_batches", None, "0: running batch-norm statistics.")
flags.DEFINE_integer("seed", None, "Default: the run's, else 0.", lower_bound=0)
flags.DEFINE_integer("batch_size", 0, "Default: the run's.", lower_bound=0)
flags.DEFINE_enum("strategy", "one_device", STRATEGIES, "Where to compute.")
flags.DEFINE_string("cache_dir", "", "Default: $CGT_TF_CACHE, else ~/.cache/cgt_tf.")
_OUTPUT = flags.DEFINE_string("output", "", "JSON file; default: eval.json of a run.")
flags.DEFINE_bool("trust", False, "Load a SavedModel that a run's own config.json names.")
_SAVE_SAMPLES = flags.DEFINE_string("save_samples", "", "Directory for the scored images.")


def main(argv):
    common.no_arguments(argv)
    request = Request.from_flags(flags.FLAGS.flag_values_dict())
    output = Path(_OUTPUT.value) if _OUTPUT.value else None
    if output and (output.is_dir() or not output.absolute().parent.is_dir()):
        raise InputError(f"--output must be a file in an existing directory, got {output}")
    for path, flag in ((_OUTPUT.value, "--output"), (_SAVE_SAMPLES.value, "--save_samples")):
        if path:
            common.check_output(path, flag)
    common.check_finite(_TRUNCATION.value, "--truncation")

    from cgt_tf.scoring.report import format_table
    from cgt_tf.scoring.score import score
    from cgt_tf.scoring.writing import write

    scores, run = score(request)
    print(format_table(scores))
    for path in write(scores, output, run):
        print(f"written to {path}")


def entry_point():
    common.run(main, "cgt-evaluate", __doc__)


if __name__ == "__main__":
    entry_point()
