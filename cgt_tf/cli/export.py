"""cgt-export: writes a run's generator for serving, or as a source of further transfers.

  cgt-export --workdir=runs/glyphs --output=served/glyphs
  cgt-export --workdir=runs/source --format=native --output=models/source

saved_model: old and new classes in one SavedModel under <output>/<version>/, for any Python with
tensorflow, and for TensorFlow Serving, which <output>/serving/docker-compose.yml starts.
native: the same for --config.source=model:<output>, with the discriminator; of a run of scratch,
its own networks.
tflite, onnx: one file for that runtime, of labels and latents; onnx needs 'cgt_tf[onnx]'.
--precision=float16 (SavedModel, native) or bfloat16 (SavedModel) stores kernels and tables in half
the space; images are computed in float32. It prints how far they move, and of a scored run's
SavedModel both FIDs.
"""

from absl import flags

from cgt_tf.cli import common

_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of a run of cgt-train.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "Of a run: best, last, or a step.")
_OUTPUT = flags.DEFINE_string("output", None, "Directory to write.")
_WEIGHTS_LICENCE = flags.DEFINE_string(
    "weights_licence", "unknown", "Licence of the weights, for model_card.json."
)
_DATA_LICENCE = flags.DEFINE_string(
    "data_licence", "unknown", "Licence of the training images, for model_card.json."
)
_PRECISION = flags.DEFINE_enum(
    "precision", "float32", ["float32", "float16", "bfloat16"], "Of the stored weights."
)
_NEAREST = flags.DEFINE_bool(
    "nearest", True, "Show generated images beside the nearest training images in nearest.png."
)
_FORMAT = flags.DEFINE_enum(
    "format", "saved_model", ["saved_model", "native", "tflite", "onnx"], "What to write."
)


def main(argv):
    common.no_arguments(argv)
    common.require(_WORKDIR.value, "--workdir", "directory of a run")
    common.require(_OUTPUT.value, "--output", "directory to write")
    common.check_output(_OUTPUT.value, "--output")

    from cgt_tf.scoring.exports import export_run

    exported = export_run(
        _WORKDIR.value,
        _OUTPUT.value,
        checkpoint=_CHECKPOINT.value,
        form=_FORMAT.value,
        precision=_PRECISION.value,
        licence={"weights": _WEIGHTS_LICENCE.value, "data": _DATA_LICENCE.value},
        nearest=_NEAREST.value,
    )
    print("\n".join(exported.notes))


def entry_point():
    common.run(main, "cgt-export", __doc__)


if __name__ == "__main__":
    entry_point()
