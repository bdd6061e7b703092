"""cgt-pack: classes as files that any model of their source takes.

  cgt-pack extract --workdir=runs/photos --classes=labrador --output=labrador.cgtpack
  cgt-pack add --model=model:models/source --packs=labrador.cgtpack,cat.cgtpack --output=models/pets
  cgt-pack add --model=run:runs/photos --packs=cat.cgtpack --format=saved_model --output=served/pets
  cgt-pack remove --model=model:models/pets --classes=cat --output=models/dogs
  cgt-pack list --model=model:models/pets
  cgt-pack list --packs=labrador.cgtpack

A pack holds data alone. Old classes stay as they are, bit for bit. A served model cannot be taken
apart: give the run or the native model that it was made of; the next version is written.
"""

from pathlib import Path

from absl import flags

from cgt_tf.cli import common
from cgt_tf.errors import InputError

_ACTIONS = ("extract", "add", "remove", "list")
_WORKDIR = flags.DEFINE_string("workdir", "", "Of extract: directory of a run.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "Of extract: best, last or a step.")
_CLASSES = flags.DEFINE_list("classes", [], "Of extract (default: all new ones) and remove.")
_LICENCE = flags.DEFINE_string("licence", "unknown", "Of extract: licence of the classes.")
_MODEL = flags.DEFINE_string("model", "", "Handle: model:<dir>, run:<dir> or bundled:<name>.")
_PACKS = flags.DEFINE_list("packs", [], "Files, of add and list.")
_FORMAT = flags.DEFINE_enum(
    "format", "native", ["native", "saved_model"], "Form of the model that is written."
)
_OUTPUT = flags.DEFINE_string("output", "", "File of extract; else the model's directory.")


def main(argv):
    action = argv[1] if len(argv) > 1 else ""
    if action not in _ACTIONS or len(argv) > 2:
        raise InputError(f"expected one of {', '.join(_ACTIONS)}, got {' '.join(argv[1:]) or None}")
    if action != "list":
        common.require(_OUTPUT.value, "--output", "<file or directory to write>")
        common.check_output(_OUTPUT.value, "--output")
    if action == "extract":
        common.require(_WORKDIR.value, "--workdir", "<directory of a run>")
        common.check_file(_OUTPUT.value, "--output", ".cgtpack")
    elif action != "list" or not _PACKS.value:
        common.require(_MODEL.value, "--model", "<handle of a model>")
    for value, flag in ((_PACKS.value, "add --packs"), (_CLASSES.value, "remove --classes")):
        if flag.startswith(action):
            common.require(value, flag.split()[1], "<one or several>")

    from cgt_tf.export import packing

    output, form = _OUTPUT.value, _FORMAT.value
    if action == "extract":
        classes, file = _CLASSES.value, Path(output)
        packing.extract(_WORKDIR.value, classes, file, _LICENCE.value, _CHECKPOINT.value)
        print("\n".join([*packing.described_pack(file), f"written to {file}"]))
    elif action == "add":
        files = [Path(file) for file in _PACKS.value]
        print(f"written to {packing.add(_MODEL.value, files, output, form)}")
    elif action == "remove":
        print(f"written to {packing.remove(_MODEL.value, _CLASSES.value, output, form)}")
    else:
        lines = [line for file in _PACKS.value for line in packing.described_pack(Path(file))]
        print("\n".join(lines + (packing.described(_MODEL.value) if _MODEL.value else [])))


def entry_point():
    common.run(main, "cgt-pack", __doc__)


if __name__ == "__main__":
    entry_point()
