"""cgt-export: writes a run's generator for serving, or as a source of further transfers.

  cgt-export --workdir=runs/glyphs --output=served/glyphs
  cgt-export --workdir=runs/source --format=native --output=models/source

saved_model: old and new classes in one SavedModel under <output>/<version>/, for any Python with
tensorflow, and for TensorFlow Serving, which <output>/serving/docker-compose.yml starts.
native: the same for --config.source=model:<output>, with the discriminator; of a run of scratch,
its own networks. With --precision=float16 it takes half the space, and prints how far images move.
"""

from absl import flags

from cgt_tf.cli import common
from cgt_tf.errors import InputError

_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of a run of cgt-train.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best (lowest FID), last, or a step.")
_OUTPUT = flags.DEFINE_string("output", None, "Directory to write.")
_WEIGHTS_LICENCE = flags.DEFINE_string(
    "weights_licence", "unknown", "Licence of the weights, for model_card.json."
)
_DATA_LICENCE = flags.DEFINE_string(
    "data_licence", "unknown", "Licence of the training images, for model_card.json."
)
_PRECISION = flags.DEFINE_enum(
    "precision", "float32", ["float32", "float16"], "Of the weights that native stores."
)
_FORMAT = flags.DEFINE_enum("format", "saved_model", ["saved_model", "native"], "What to write.")


def main(argv):
    common.no_arguments(argv)
    common.require(_WORKDIR.value, "--workdir", "directory of a run")
    common.require(_OUTPUT.value, "--output", "directory to write")
    common.check_output(_OUTPUT.value, "--output")
    if _FORMAT.value != "native" and _PRECISION.value != "float32":
        raise InputError(
            f"--precision={_PRECISION.value} needs --format=native, got {_FORMAT.value}"
        )

    from cgt_tf.methods.registry import config_from_dict, create_method
    from cgt_tf.runs import facts
    from cgt_tf.runs.snapshots import open_snapshot

    snapshot = open_snapshot(_WORKDIR.value, _CHECKPOINT.value)
    licence = {"weights": _WEIGHTS_LICENCE.value, "data": _DATA_LICENCE.value}
    told = {**facts.of_export(snapshot), "licence": licence}
    if _FORMAT.value == "native":
        from cgt_tf.export.native import export_native

        origin, precision = snapshot.provenance, _PRECISION.value
        path, levels = export_native(snapshot.gan, _OUTPUT.value, origin, precision, told)
        if precision != "float32":
            print(f"stored in {precision}: images move by at most {levels:.2f} of 255 grey levels")
        use = f"use it with --config.source=model:{path}"
        print(f"checkpoint of step {snapshot.step} written; {use}")
        return
    from cgt_tf.export import saved_model, warm_up

    path = saved_model.export_saved_model(snapshot.extended(), _OUTPUT.value, told=told)
    method = create_method(config_from_dict(snapshot.run.config()))
    if not (path / warm_up.FILE).exists():
        print("no warm-up requests for a server: they need pip install 'cgt_tf[serving]'")
    if method.needs_source and not method.keeps_old_classes:
        print("the new classes only: this run has changed the weights that the old ones need")
    classes = len(snapshot.gan.class_names)
    print(f"checkpoint of step {snapshot.step}, {classes} classes, written to {path}")


def entry_point():
    common.run(main, "cgt-export", __doc__)


if __name__ == "__main__":
    entry_point()
