"""cgt-sample: draws rows of samples with labels, as a picture or as single images.

  cgt-sample --model=runs/glyphs --output=grid.png
  cgt-sample --model=served/glyphs --classes=Ö,A --truncation=0.8 --output=grid.png
  cgt-sample --model=tfhub:deepmind/biggan-128/2 --interpolate=tench,goldfish --output=between.png
  cgt-sample --model=runs/glyphs --mix='Ö:0.7,A:0.3' --columns=100 --output=mixed/
  cgt-sample --model=runs/glyphs --classes=Ö --truncations=0.4,0.7,1 --output=strips.png
  cgt-sample --model=runs/glyphs --layers --output=layers.png

Column j holds the image of seed `--seed` + j, the one that the SavedModel's serving_default gives
for that label, seed and truncation. A folder gets single images and manifest.jsonl, which says of
each its class, label, seed and truncation. Pseudo-classes and layers are those of a run.
"""

from absl import flags

from cgt_tf.cli import common
from cgt_tf.drawing.request import PictureRequest

_MODEL = flags.DEFINE_string("model", None, "A run, a SavedModel, or the handle of a source.")
flags.DEFINE_string("checkpoint", "best", "Of a run: best, last, or a step.")
flags.DEFINE_list("classes", [], "Names; default: a run's new classes, else all, 40 rows at most.")
flags.DEFINE_integer("columns", None, "Images of a row; default 8.", 1, 10_000)
flags.DEFINE_integer("rows", None, "Of --interpolate: seeds; default 4.", 1, 10_000)
flags.DEFINE_integer("seed", 0, "Seed of the first column.", 0, 2**62)
flags.DEFINE_float("truncation", None, "In (0, 1], default 1; less is safer and less varied.")
flags.DEFINE_integer("scale", None, "Enlargement of a picture, a whole factor; default 2.", 1, 64)
flags.DEFINE_list("interpolate", [], "Two classes: rows from the one to the other in --columns.")
flags.DEFINE_list("mix", [], "<class>:<weight>,...: images of classes mixed by these weights.")
flags.DEFINE_list("truncations", [], "A row of each class for each of these.")
flags.DEFINE_bool("pseudo_classes", False, "What a run mixes its new classes from, as images.")
flags.DEFINE_bool("layers", False, "New classes with the first 0, 1, ... of their norms as learnt.")
_OUTPUT = flags.DEFINE_string("output", None, "Picture ending in .png, or a folder for images.")


def main(argv):
    common.no_arguments(argv)
    common.require(_MODEL.value, "--model", "a run or a SavedModel directory")
    common.require(_OUTPUT.value, "--output", "a picture ending in .png, or a folder")
    request = PictureRequest.from_flags(flags.FLAGS.flag_values_dict())
    if request.to_folder:
        common.check_new_directory(_OUTPUT.value, "--output")
    else:
        common.check_file(_OUTPUT.value, "--output", ".png")

    from cgt_tf.export.sampler import drawn, write

    print(write(drawn(request), request))


def entry_point():
    common.run(main, "cgt-sample", __doc__)


if __name__ == "__main__":
    entry_point()
