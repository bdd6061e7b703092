"""A picture of samples: one row a class, its name at the left."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cgt_tf.errors import InputError

_GAP = 2  # Pixels between pictures.
_MARGIN = 6  # Pixels around the names.
_LABEL_WIDTH = 160  # Most pixels a name may take.
_FONT_SIZES = (7, 16)  # Smallest and largest; between them a name is as high as half its row.
_ELLIPSIS = "…"
_BACKGROUND, _TEXT = (255, 255, 255), (30, 30, 30)


def labelled_grid(
    images: np.ndarray, row_labels: list[str], columns: int, scale: int = 2
) -> Image.Image:
    """Lays images out in rows and writes each row's label at its left.

    Args:
        images: uint8 [rows * columns, H, W, 3], row by row.
        row_labels: one text a row; what is too long ends in an ellipsis. The font (DejaVu Sans)
            has Latin, Greek, Cyrillic and many symbols, no Chinese, Japanese or Korean.
        columns: images in a row.
        scale: whole factor that pixels are enlarged by.

    Raises:
        InputError: images of another type or count, or a count or scale below 1.
    """
    images = np.asarray(images)
    _check(images, row_labels, columns, scale)
    height, width = (side * scale for side in images.shape[1:3])
    font = _font(height)
    texts = [_fitting(label, font) for label in row_labels]
    left = 2 * _MARGIN + max(int(np.ceil(font.getlength(text))) for text in texts)
    size = (
        left + columns * (width + _GAP),
        _GAP + len(texts) * (height + _GAP),
    )
    picture = Image.new("RGB", size, _BACKGROUND)
    draw = ImageDraw.Draw(picture)
    for row, text in enumerate(texts):
        top = _GAP + row * (height + _GAP)
        draw.text((left - _MARGIN, top + height / 2), text, fill=_TEXT, font=font, anchor="rm")
        for column in range(columns):
            image = Image.fromarray(images[row * columns + column])
            image = image.resize((width, height), Image.Resampling.NEAREST)
            picture.paste(image, (left + column * (width + _GAP), top))
    return picture


def _check(images, row_labels, columns, scale):
    for name, value in (("rows", len(row_labels)), ("columns", columns), ("a scale", scale)):
        if value < 1:
            raise InputError(f"expected {name} of at least 1, got {value}")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise InputError(
            f"expected images uint8 [n, H, W, 3], got {images.dtype} {list(images.shape)}"
        )
    if len(images) != len(row_labels) * columns:
        raise InputError(
            f"expected {len(row_labels)} rows of {columns} images, got {len(images)} images"
        )


def _font(row_height: int) -> ImageFont.FreeTypeFont:
    # Matplotlib brings the font along, so that it is the same on every machine.
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    smallest, largest = _FONT_SIZES
    return ImageFont.truetype(str(path), min(max(row_height // 2, smallest), largest))


def _fitting(label: str, font: ImageFont.FreeTypeFont) -> str:
    """The label in one line, its end replaced by an ellipsis where it is too wide."""
    text = " ".join(label.split())
    if font.getlength(text) <= _LABEL_WIDTH:
        return text
    while text and font.getlength(text + _ELLIPSIS) > _LABEL_WIDTH:
        text = text[:-1].rstrip()
    return text + _ELLIPSIS
