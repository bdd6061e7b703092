"""cgt-import: reads a published GAN, reports on every tensor, and writes it as a model of ours.

  cgt-import --source=tfhub:https://tfhub.dev/deepmind/biggan-128/2 --output=models/biggan --verify
  cgt-import --source=pth:G_ema.pth --discriminator=pth:D.pth --output=models/biggan
  cgt-import --source=model:models/biggan --to=pth --output=weights

Sources: tfhub:<handle or dir>, pth:<file>, run:<dir>, model:<dir>, bundled:<name>. The written
directory is used with --config.source=model:<dir>. A tensor that is missing or that nothing
explains is an error, and nothing is written.
"""

from absl import flags

from cgt_tf.cli import common

_SOURCE = flags.DEFINE_string("source", None, "Handle of the generator.")
_DISCRIMINATOR = flags.DEFINE_string("discriminator", "", "Handle of a discriminator to add.")
_OUTPUT = flags.DEFINE_string("output", None, "Directory to write; new or empty.")
_TO = flags.DEFINE_enum("to", "native", ["native", "pth"], "Format to write.")
_VERIFY = flags.DEFINE_bool("verify", False, "Run the original and compare outputs.")
_WEIGHTS = flags.DEFINE_enum(
    "weights", "ema", ["ema", "raw"], "Of a TF-Hub module: EMA or raw weights."
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
    "tolerance", 1e-3, "Largest difference of images that --verify accepts.", lower_bound=0
)
_QUIET = flags.DEFINE_bool("quiet", False, "Leave out the lines of single tensors.")


def main(argv):
    common.no_arguments(argv)
    common.require(_SOURCE.value, "--source", "handle of a GAN")
    common.require(_OUTPUT.value, "--output", "directory to write")
    common.check_truncation(_TRUNCATION.value)
    common.check_new_directory(_OUTPUT.value, "--output")
    common.check_finite(_BN_EPS.value, "--bn_eps", above=0)
    common.check_finite(_SN_EPS.value, "--sn_eps", above=0)
    common.check_finite(_TOLERANCE.value, "--tolerance")

    from cgt_tf.formats import standing, verify, writing
    from cgt_tf.runs import handles

    epsilons = {"bn_eps": _BN_EPS.value, "sn_eps": _SN_EPS.value}
    parts = {"discriminator": _DISCRIMINATOR.value, "weights": _WEIGHTS.value}
    imported = handles.read_source(_SOURCE.value, **parts, **epsilons)
    print("\n".join(imported.lines(tensors=not _QUIET.value)))
    if _VERIFY.value:
        kind, place = handles.split_handle(_SOURCE.value)
        found = verify.verify(kind, place, imported, _WEIGHTS.value, _TOLERANCE.value)
        print("\n".join(found.lines()))
        if not found.agrees:
            print("nothing was written")
            return 1
    if _STANDING_STATS.value:
        batches = (_STANDING_STATS.value, _BATCH_SIZE.value)
        imported = standing.with_standing_statistics(imported, *batches, _TRUNCATION.value)
        print(imported.notes[-1])
    provenance = {"source": _SOURCE.value, **imported.provenance}
    gan = handles.to_gan(imported)
    print("\n".join(writing.write(gan, _OUTPUT.value, _TO.value, provenance)))
    return 0


def entry_point():
    common.run(main, "cgt-import", __doc__)


if __name__ == "__main__":
    entry_point()
