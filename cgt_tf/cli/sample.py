"""cgt-sample: draws a labelled grid of samples, one row a class.

  cgt-sample --model=runs/glyphs --output=grid.png
  cgt-sample --model=served/glyphs --classes=Ö,A --truncation=0.8 --output=grid.png
  cgt-sample --model=tfhub:deepmind/biggan-128/2 --classes=tench,goldfish --output=grid.png

Column j holds the image of seed `--seed` + j, the one that the SavedModel's serving_default gives
for that label, seed and truncation.
"""

from absl import flags

from cgt_tf.cli import common

_MOST_ROWS = 40  # Of a picture whose classes were not chosen.
_MODEL = flags.DEFINE_string("model", None, "A run, a SavedModel, or the handle of a source.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "Of a run: best, last, or a step.")
_CLASSES = flags.DEFINE_list(
    "classes", [], f"Names; default: a run's new classes, else all, {_MOST_ROWS} at most."
)
_COLUMNS = flags.DEFINE_integer(
    "columns", 8, "Samples of each class.", lower_bound=1, upper_bound=10_000
)
_SEED = flags.DEFINE_integer(
    "seed", 0, "Seed of the first column.", lower_bound=0, upper_bound=2**62
)
_TRUNCATION = flags.DEFINE_float("truncation", 1.0, "In (0, 1]; less is safer and less varied.")
_SCALE = flags.DEFINE_integer(
    "scale", 2, "Enlargement, a whole factor.", lower_bound=1, upper_bound=64
)
_OUTPUT = flags.DEFINE_string("output", None, "Picture to write, ending in .png.")


def main(argv):
    common.no_arguments(argv)
    common.require(_MODEL.value, "--model", "a run or a SavedModel directory")
    common.require(_OUTPUT.value, "--output", "a picture ending in .png")
    common.check_file(_OUTPUT.value, "--output", ".png")
    common.check_truncation(_TRUNCATION.value)

    from cgt_tf.export.sampler import open_sampler, sample_grid

    sampler = open_sampler(_MODEL.value, _CHECKPOINT.value)
    names = _CLASSES.value or sampler.new_classes[:_MOST_ROWS]
    seeds = range(_SEED.value, _SEED.value + _COLUMNS.value)
    picture = sample_grid(sampler, names, seeds, _TRUNCATION.value, _SCALE.value)
    picture.save(_OUTPUT.value)
    count = len(names) * len(seeds)
    print(f"{count} samples of {len(names)} classes written to {_OUTPUT.value}")


def entry_point():
    common.run(main, "cgt-sample", __doc__)


if __name__ == "__main__":
    entry_point()
