"""cgt-report: a run, or several, as one page with curves, samples, scores and similarities.

  cgt-report --workdir=runs/photos --output=report.html
  cgt-report --workdir=runs/cgan_transfer,runs/minegan --output=both.html

The page holds everything in itself and needs no network. Scores by class are those of cgt-evaluate.
"""

from pathlib import Path

from absl import flags

from cgt_tf.cli import common

_WORKDIRS = flags.DEFINE_list("workdir", [], "Directories of runs.")
_OUTPUT = flags.DEFINE_string("output", "", "Page to write; default: report.html of the one run.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "Checkpoint to draw: best, last or a step.")


def main(argv):
    common.no_arguments(argv)
    common.require(_WORKDIRS.value, "--workdir", "<run>, or several")
    if len(_WORKDIRS.value) > 1:
        common.require(_OUTPUT.value, "--output", "<page>, for several runs")
    output = _OUTPUT.value or str(Path(_WORKDIRS.value[0]) / "report.html")
    common.check_file(output, "--output", ".html")

    from cgt_tf.files import write_atomically
    from cgt_tf.report import collect, page

    collect.check_workdirs(_WORKDIRS.value)
    runs = [collect.collect(workdir, _CHECKPOINT.value) for workdir in _WORKDIRS.value]
    write_atomically(Path(output), page.render(runs))
    print(f"written to {output}")


def entry_point():
    common.run(main, "cgt-report", __doc__)


if __name__ == "__main__":
    entry_point()
