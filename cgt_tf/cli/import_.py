"""cgt-import: reads a published GAN, reports on every tensor, and writes it as a model of ours.

  cgt-import --source=tfhub:https://tfhub.dev/deepmind/biggan-128/2 --output=models/biggan --verify
  cgt-import --source=pth:G_ema.pth --discriminator=pth:D.pth --output=models/biggan
  cgt-import --source=model:models/biggan --to=pth --output=weights

Sources: tfhub:<handle or dir>, pth:<file>, run:<dir>, model:<dir>, bundled:<name>. The written
directory is used with --config.source=model:<dir>. A tensor that is missing or that nothing
explains is an error, and nothing is written.
"""

from pathlib import Path

from absl import flags

from cgt_tf.cli import common
from cgt_tf.errors import InputError

_SOURCE = flags.DEFINE_string("source", None, "Handle of the generator.")
_DISCRIMINATOR = flags.DEFINE_string("discriminator", "", "Handle of a discriminator to add.")
_OUTPUT = flags.DEFINE_string("output", None, "Directory to write; new or empty.")
_TO = flags.DEFINE_enum("to", "native", ["native", "pth"], "Format to write.")
_VERIFY = flags.DEFINE_bool("verify", False, "Run the original and compare outputs.")
_WEIGHTS = flags.DEFINE_enum(
    "weights", "ema", ["ema", "raw"], "Of a TF-Hub module: averaged or raw weights."
)
_BN_EPS = flags.DEFINE_float("bn_eps", None, "Batch-norm epsilon; default: the source's.")
_SN_EPS = flags.DEFINE_float("sn_eps", None, "Spectral-norm epsilon; default: the source's.")
_STANDING_STATS = flags.DEFINE_integer(
    "standing_stats", 0, "Re-estimate batch-norm statistics over so many batches.", lower_bound=0
)
_BATCH_SIZE = flags.DEFINE_integer(
    "standing_batch_size", 64, "Samples of each of those batches.", lower_bound=2
)
_TRUNCATION = flags.DEFINE_float("truncation", 1.0, "For which those statistics hold, in (0, 1].")
_TOLERANCE = flags.DEFINE_float(
    "tolerance",
    1e-3,
    "Largest difference of images that --verify accepts. Rounding alone makes up to some 1e-4 in "
    "deep networks; wrong weights or statistics make 0.1 and more.",
    lower_bound=0,
)
_QUIET = flags.DEFINE_bool("quiet", False, "Leave out the lines of single tensors.")


def main(argv):
    common.no_arguments(argv)
    common.require(_SOURCE.value, "--source", "handle of a GAN")
    common.require(_OUTPUT.value, "--output", "directory to write")
    if not 0 < _TRUNCATION.value <= 1:
        raise InputError(f"expected --truncation in (0, 1], got {_TRUNCATION.value}")
    output = Path(_OUTPUT.value)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"expected --output to be a new or empty directory, got {output}")
    common.check_output(output, "--output")
    common.check_finite(_BN_EPS.value, "--bn_eps", above=0)
    common.check_finite(_SN_EPS.value, "--sn_eps", above=0)
    common.check_finite(_TOLERANCE.value, "--tolerance")

    from cgt_tf.runs.handles import read_source, split_handle, to_gan

    options = {"bn_eps": _BN_EPS.value, "sn_eps": _SN_EPS.value}
    if split_handle(_SOURCE.value)[0] == "tfhub":
        options["weights"] = _WEIGHTS.value
    elif _WEIGHTS.value != "ema":
        raise InputError(f"--weights=raw is for tfhub: sources, got {_SOURCE.value!r}")
    imported = read_source(_SOURCE.value, discriminator=_DISCRIMINATOR.value or None, **options)
    _print_report(imported)
    if _VERIFY.value and not _verified(imported):
        return 1
    if _STANDING_STATS.value:
        imported = _with_standing_statistics(imported)
    gan = to_gan(imported)
    if _TO.value == "pth":
        from cgt_tf.formats.biggan_pytorch import export_notes, write_pth

        for path in write_pth(gan, output):
            print(f"written: {path}")
        for note in export_notes(gan.spec):
            print(f"note: {note}")
        return 0
    from cgt_tf.formats.native import save_model

    save_model(gan, output, {"source": _SOURCE.value, **imported.provenance})
    print(f"written; use it with --config.source=model:{output}")
    return 0


def _print_report(imported):
    if not _QUIET.value:
        for line in imported.report:
            print(line)
    ignored = sum(not line.target for line in imported.report)
    spec = imported.spec
    print(f"{len(imported.report) - ignored} tensors read, {ignored} ignored with a reason")
    for note in imported.notes:
        print(f"note: {note}")
    print(
        f"{spec.architecture}, {spec.resolution}x{spec.resolution}, {spec.num_classes} classes, "
        f"z {spec.dim_z}, widths {list(spec.g_widths)}, "
        f"{'with' if imported.discriminator else 'without'} discriminator"
    )


def _verified(imported) -> bool:
    from cgt_tf.formats.verify import verify
    from cgt_tf.runs.handles import split_handle

    kind, place = split_handle(_SOURCE.value)
    original, differences = verify(kind, place, imported, _WEIGHTS.value)
    print(f"compared with {original}:")
    for name, difference in differences:
        print(f"  {name}: max |difference| {difference:.3g}")
    worst = differences[-1][1]
    # Written so that NaN fails.
    if not worst <= _TOLERANCE.value:
        print(f"differs by more than --tolerance={_TOLERANCE.value:g}; nothing was written")
        return False
    print(f"the outputs agree: max |difference| {worst:.3g}")
    return True


def _with_standing_statistics(imported):
    from cgt_tf.formats.standing import with_standing_statistics

    batches, size = _STANDING_STATS.value, _BATCH_SIZE.value
    again = with_standing_statistics(imported, batches, size, _TRUNCATION.value)
    print(again.notes[-1])
    return again


def entry_point():
    common.run(main, "cgt-import", __doc__)


if __name__ == "__main__":
    entry_point()
