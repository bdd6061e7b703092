"""Images as single files, with a line on each of them."""

import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from cgt_tf.drawing.rows import Strip
from cgt_tf.files import staged_directory

MANIFEST = "manifest.jsonl"


def write_folder(strips: Sequence[Strip], directory: Path) -> int:
    """Writes `<row>_<column>.png` for each image and `manifest.jsonl`, all or nothing.

    A line of the manifest is an object with the file, the row's title, class, label, seed,
    truncation, and more where images are of more than one class.

    Args:
        strips: What to write.
        directory: New, or empty.

    Returns:
        How many images there are.

    Raises:
        InputError: the place cannot be written to.
    """
    lines = []
    with staged_directory(directory) as staging:
        for row, strip in enumerate(strips):
            for column, (image, facts) in enumerate(zip(strip.images, strip.facts, strict=True)):
                file = f"{row:03d}_{column:03d}.png"
                Image.fromarray(image).save(staging / file)
                lines.append({"file": file, "row": strip.title, **facts})
        text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
        (staging / MANIFEST).write_text(text, encoding="utf-8")
    return len(lines)
