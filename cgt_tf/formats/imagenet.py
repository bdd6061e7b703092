"""Names of the 1000 ImageNet classes, in the order of the published networks' labels."""

import collections
import csv
from pathlib import Path

_FILE = Path(__file__).parent.parent / "assets" / "imagenet_classes.tsv"


def imagenet_class_names() -> list[str]:
    """The first synonym of each class; those that two classes share get the WordNet id added."""
    with _FILE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    names = [row["label"].partition(",")[0] for row in rows]
    counts = collections.Counter(names)
    return [
        f"{name} ({row['wnid']})" if counts[name] > 1 else name
        for name, row in zip(names, rows, strict=True)
    ]
