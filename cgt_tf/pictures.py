"""Pictures made of many images: plain grids, rows with names, cells with captions, titles.

Text is in DejaVu Sans, which comes with Matplotlib, so that it is the same on every machine. The
font that Pillow brings along has ASCII only, and classes are called Ö and Ж.
"""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cgt_tf.errors import InputError

_GAP = 2  # Pixels between images.
_MARGIN = 6  # Pixels around the names of rows.
_LABEL_WIDTH = 160  # Most pixels a row's name takes, where its caller says no other number.
_FONT_SIZES = (7, 16)  # Smallest and largest; between them a name is as high as half its row.
_CAPTION_SIZE, _CAPTION_HEIGHT = 11, 14
_TITLE_SIZE, _TITLE_HEIGHT = 13, 18
_FRAME = 2  # Pixels around a marked cell.
_ELLIPSIS = "…"
_BACKGROUND, _TEXT, _MARK = (255, 255, 255), (30, 30, 30), (210, 30, 30)


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """Images [rows * columns, H, W, C], row by row -> one picture [rows * H, columns * W, C]."""
    _, height, width, channels = images.shape
    grid = images.reshape(-1, columns, height, width, channels).swapaxes(1, 2)
    return grid.reshape(-1, columns * width, channels)


def labelled_grid(
    images: np.ndarray,
    row_labels: Sequence[str],
    columns: int,
    scale: int = 2,
    label_width: int = _LABEL_WIDTH,
) -> Image.Image:
    """Lays images out in rows and writes each row's label at its left.

    Args:
        images: uint8 [rows * columns, H, W, 3], row by row.
        row_labels: One text a row, broken into as many lines as the row is high; what is longer
            ends in an ellipsis. The font has Latin, Greek, Cyrillic and many symbols, no Chinese,
            Japanese or Korean.
        columns: Images in a row.
        scale: Whole factor that pixels are enlarged by.
        label_width: Most pixels that a label takes.

    Raises:
        InputError: images of another type or count, or a count or scale below 1.
    """
    images = np.asarray(images)
    _check(images, len(row_labels), columns, scale)
    height, width = (side * scale for side in images.shape[1:3])
    smallest, largest = _FONT_SIZES
    font = _font(min(max(height // 2, smallest), largest))
    most = max(1, height // _TITLE_HEIGHT)
    labels = [_wrapped(label, font, label_width, most) for label in row_labels]
    lengths = [font.getlength(line) for lines in labels for line in lines]
    left = 2 * _MARGIN + int(np.ceil(max(lengths, default=0)))
    picture = Image.new(
        "RGB", (left + columns * (width + _GAP), _GAP + len(labels) * (height + _GAP)), _BACKGROUND
    )
    draw = ImageDraw.Draw(picture)
    for row, lines in enumerate(labels):
        top = _GAP + row * (height + _GAP)
        for i, line in enumerate(lines):
            middle = top + height / 2 + (i - (len(lines) - 1) / 2) * _TITLE_HEIGHT
            draw.text((left - _MARGIN, middle), line, fill=_TEXT, font=font, anchor="rm")
        for column in range(columns):
            image = _enlarged(images[row * columns + column], scale)
            picture.paste(image, (left + column * (width + _GAP), top))
    return picture


def captioned_grid(
    images: np.ndarray,
    captions: Sequence[str],
    columns: int,
    *,
    scale: int = 1,
    marked: int = 0,
) -> Image.Image:
    """Lays images out row by row, each with a text below it; the last row may be short.

    Args:
        images: uint8 [n, H, W, 3].
        captions: One text an image, "" for none, with a line break between its lines; a line
            that is wider than its image ends in an ellipsis.
        columns: Images in a row.
        scale: Whole factor that pixels are enlarged by.
        marked: How many of the first images are framed in red, their captions red too.

    Raises:
        InputError: images of another type or count, or a count or scale below 1.
    """
    images = np.asarray(images)
    rows = -(-len(images) // max(columns, 1))
    _check(images, rows, columns, scale, len(captions))
    height, width = (side * scale for side in images.shape[1:3])
    border = _FRAME + _GAP
    lines = max((caption.count("\n") + 1 for caption in captions), default=1)
    cell = (width + 2 * border, height + lines * _CAPTION_HEIGHT + 2 * border)
    picture = Image.new("RGB", (columns * cell[0], rows * cell[1]), _BACKGROUND)
    draw, font = ImageDraw.Draw(picture), _font(_CAPTION_SIZE)
    for i, (image, caption) in enumerate(zip(images, captions, strict=True)):
        left, top = i % columns * cell[0] + border, i // columns * cell[1] + border
        if i < marked:
            box = (left - _FRAME, top - _FRAME, left + width + 1, top + height + 1)
            draw.rectangle(box, outline=_MARK, width=_FRAME)
        picture.paste(_enlarged(image, scale), (left, top))
        colour = _MARK if i < marked else _TEXT
        for line, text in enumerate(caption.split("\n")):
            place = (left, top + height + _FRAME + line * _CAPTION_HEIGHT)
            draw.text(place, _fitting(text, font, width), fill=colour, font=font)
    return picture


def framed(
    picture: Image.Image, title: str, row_labels: Sequence[str], headings: Sequence[str]
) -> Image.Image:
    """A grid of equal cells with a title and headings above and a label left of each row.

    Args:
        picture: RGB, of len(row_labels) rows and len(headings) columns of one size.
        title: Is broken into lines where it is wider than the picture.
        row_labels: One text a row; what is too long ends in an ellipsis.
        headings: One text a column; likewise.
    """
    font, small = _font(_TITLE_SIZE), _font(_CAPTION_SIZE)
    texts = [_fitting(label, font, _LABEL_WIDTH) for label in row_labels]
    left = 2 * _MARGIN + max(int(np.ceil(font.getlength(text))) for text in texts)
    lines = _wrapped(title, font, left + picture.width - 2 * _MARGIN)
    top = _MARGIN + len(lines) * _TITLE_HEIGHT + _CAPTION_HEIGHT + _GAP
    new = Image.new("RGB", (left + picture.width, top + picture.height), _BACKGROUND)
    new.paste(picture, (left, top))
    draw = ImageDraw.Draw(new)
    for i, line in enumerate(lines):
        draw.text((_MARGIN, _MARGIN + i * _TITLE_HEIGHT), line, fill=_TEXT, font=font)
    width, height = picture.width / len(headings), picture.height / len(texts)
    for column, heading in enumerate(headings):
        text = _fitting(heading, small, int(width))
        place = (left + (column + 0.5) * width, top - _GAP)
        draw.text(place, text, fill=_TEXT, font=small, anchor="md")
    for row, text in enumerate(texts):
        place = (left - _MARGIN, top + (row + 0.5) * height)
        draw.text(place, text, fill=_TEXT, font=font, anchor="rm")
    return new


def _wrapped(
    text: str, font: ImageFont.FreeTypeFont, width: int, most: int | None = None
) -> list[str]:
    """Lines of whole words, `most` at most; one that is wider is cut: a long word, or the rest."""
    lines: list[str] = []
    for word in text.split():
        if lines and (font.getlength(f"{lines[-1]} {word}") <= width or len(lines) == most):
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return [_fitting(line, font, width) for line in lines]


def _check(
    images: np.ndarray, rows: int, columns: int, scale: int, count: int | None = None
) -> None:
    for name, value in (("rows", rows), ("columns", columns), ("a scale", scale)):
        if value < 1:
            raise InputError(f"expected {name} of at least 1, got {value}")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise InputError(
            f"expected images uint8 [n, H, W, 3], got {images.dtype} {list(images.shape)}"
        )
    if count is None and len(images) != rows * columns:
        raise InputError(f"expected {rows} rows of {columns} images, got {len(images)} images")
    if count is not None and len(images) != count:
        raise InputError(f"expected a caption for each of {len(images)} images, got {count}")


def _enlarged(image: np.ndarray, scale: int) -> Image.Image:
    return Image.fromarray(image.repeat(scale, axis=0).repeat(scale, axis=1))


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), size)


def _fitting(label: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The label in one line, its end replaced by an ellipsis where it is wider than `width`."""
    text = " ".join(label.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + _ELLIPSIS) > width:
        text = text[:-1].rstrip()
    return text + _ELLIPSIS
