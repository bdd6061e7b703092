"""cgt-sample: draws a labelled grid of samples, one row a class.

  cgt-sample --model=runs/glyphs --output=grid.png
  cgt-sample --model=served/glyphs --classes=Ö,A --truncation=0.8 --output=grid.png
  cgt-sample --model=tfhub:deepmind/biggan-128/2 --classes=tench,goldfish --output=grid.png

Column j holds the image of seed `--seed` + j, the one that the SavedModel's serving_default gives
for that label, seed and truncation.
"""

from pathlib import Path

from absl import flags

from cgt_tf.cli import common
from cgt_tf.errors import InputError

_MOST_ROWS = 40  # Of a picture whose classes were not chosen.
_MOST_PIXELS = 1 << 28
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
    output = Path(_OUTPUT.value)
    if output.suffix != ".png":
        raise InputError(f"--output must end in .png, got {output}")
    if not output.absolute().parent.is_dir():
        raise InputError(f"--output must be in an existing directory, got {output}")
    common.check_output(output, "--output")
    if not 0 < _TRUNCATION.value <= 1:
        raise InputError(f"--truncation must be in (0, 1], got {_TRUNCATION.value}")

    import numpy as np

    from cgt_tf.cli import wiring
    from cgt_tf.pictures import labelled_grid

    sampler = wiring.open_sampler(_MODEL.value, _CHECKPOINT.value)
    chosen = _CLASSES.value or sampler.new_classes[:_MOST_ROWS]
    rows = _labels(chosen, sampler.class_names)
    pixels = len(rows) * _COLUMNS.value * (sampler.resolution * _SCALE.value) ** 2
    if pixels > _MOST_PIXELS:
        raise InputError(
            f"expected a picture of at most {_MOST_PIXELS:,} pixels, got {pixels:,}: "
            f"{len(rows)} classes, --columns={_COLUMNS.value}, --scale={_SCALE.value}"
        )
    labels = np.repeat(np.array(rows, np.int64), _COLUMNS.value)
    seeds = np.tile(np.arange(_COLUMNS.value, dtype=np.int64) + _SEED.value, len(rows))
    images = sampler.sample(labels, seeds, _TRUNCATION.value)
    names = [sampler.class_names[row] for row in rows]
    labelled_grid(images, names, _COLUMNS.value, _SCALE.value).save(output)
    print(f"{len(images)} samples of {len(rows)} classes written to {output}")


def _labels(chosen, class_names):
    unknown = [name for name in chosen if name not in class_names]
    if unknown:
        raise InputError(
            f"--classes must be of the model's {len(class_names)} classes "
            f"({', '.join(class_names[:5])}, ...), got {unknown[0]!r}"
        )
    return [class_names.index(name) for name in chosen]


def entry_point():
    common.run(main, "cgt-sample", __doc__)


if __name__ == "__main__":
    entry_point()
