"""Writes configs/README.md, the index of all flagfiles and plans, from what their heads say.

python tools/index_flagfiles.py
"""

import json
from pathlib import Path

from cgt_tf import flagfiles

CONFIGS = Path(__file__).parents[1] / "configs"
FOLDERS = {
    "quickstart": "Transfers in minutes on two cores.",
    "sources": "Sources: the bundled ones, as they were trained, and one for own photographs.",
    "methods": "Each method on the common setting on glyphs.",
    "faithful": "Methods with the settings of their authors' code.",
    "paper": "The setups of the cGANTransfer paper, with its published numbers.",
    "cifar100": "Each method on the common setting on CIFAR-100, and plans of their comparison.",
    "table1": "The paper's table 1 on glyphs.",
    "table2": "The paper's table 2 on glyphs.",
    "base": "What flagfiles of the other folders include.",
}
_HEAD = """# Flagfiles

Made from the heads of the files by `python tools/index_flagfiles.py`. A flagfile is given by its
path, `cgt-train --flagfile=configs/methods/minegan.flags`, or by its name, which also an installed
package knows: `cgt-train --preset=glyphs_transfer`, with the folder where several have that name
(`--preset=methods/minegan`). Flags after it override it. Lines `--flagfile=` in a flagfile are
relative to it. Plans (`.json`) are series of runs:
`python tools/compare_methods.py --queue=configs/table2/glyphs.json`.
"""


def summary(path: Path) -> str:
    """What a plan is about, or the first sentence of a flagfile's head."""
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))["about"]
    return flagfiles.summary(path)


def index() -> str:
    sections = [_HEAD]
    for folder, about in FOLDERS.items():
        files = sorted((CONFIGS / folder).iterdir())
        lines = [f"| [{path.name}]({folder}/{path.name}) | {summary(path)} |" for path in files]
        table = ["| file | what it is |", "| --- | --- |", *lines]
        sections.append("\n".join([f"## {folder}", "", about, "", *table, ""]))
    return "\n".join(sections)


if __name__ == "__main__":
    (CONFIGS / "README.md").write_text(index(), encoding="utf-8")
