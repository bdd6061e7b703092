"""cgt-export: writes a run's generator for serving, or as a source of further transfers.

  cgt-export --workdir=runs/glyphs --output=served/glyphs
  cgt-export --workdir=runs/source --format=native --output=models/source

saved_model: old and new classes in one SavedModel under <output>/<version>/, for TensorFlow Serving
or any Python with tensorflow. native: the run's own networks, for --config.source=model:<output>.
"""

from absl import flags

from cgt_tf.cli import common

_WORKDIR = flags.DEFINE_string("workdir", None, "Directory of a run of cgt-train.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best (lowest FID), last, or a step.")
_OUTPUT = flags.DEFINE_string("output", None, "Directory to write.")
_FORMAT = flags.DEFINE_enum("format", "saved_model", ["saved_model", "native"], "What to write.")


def main(argv):
    common.no_arguments(argv)
    common.require(_WORKDIR.value, "--workdir", "directory of a run")
    common.require(_OUTPUT.value, "--output", "directory to write")

    from cgt_tf.cli import wiring

    run, session, step = wiring.open_run(_WORKDIR.value, _CHECKPOINT.value)
    if _FORMAT.value == "native":
        path = session.save_native(run, _OUTPUT.value, step)
        print(f"checkpoint of step {step} written; use it with --config.source=model:{path}")
        return
    from cgt_tf.export.saved_model import export_saved_model

    extended = session.method.extended(session.gan)
    path = export_saved_model(extended, _OUTPUT.value)
    print(f"checkpoint of step {step}, {extended.spec.num_classes} classes, written to {path}")


def entry_point():
    common.run(main, "cgt-export", __doc__)


if __name__ == "__main__":
    entry_point()
