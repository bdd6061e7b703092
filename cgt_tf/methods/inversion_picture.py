"""A picture of images beside their reconstructions, worst first."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_COLUMNS, _ROWS = 8, 6  # Pairs.
_WORST = 16  # Of them, marked; the others are spread evenly over the rest.
_LEAST_SIDE = 64  # Smaller images are enlarged, by whole factors.
_GAP, _TEXT_HEIGHT = 4, 14
_BACKGROUND, _TEXT, _MARK = (255, 255, 255), (30, 30, 30), (210, 30, 30)


def shown_pairs(errors: np.ndarray) -> np.ndarray:
    """Numbers of the images that are shown, worst first."""
    order = np.argsort(-errors, kind="stable")
    rest = order[_WORST:]
    spread = np.linspace(0, len(rest) - 1, min(_COLUMNS * _ROWS - _WORST, len(rest)))
    return np.concatenate([order[:_WORST], rest[spread.round().astype(int)]])


def draw_pairs(images: np.ndarray, reconstructions: np.ndarray, errors: np.ndarray) -> Image.Image:
    """Pairs of image and reconstruction with the error below; the worst are framed in red.

    Args:
        images, reconstructions: uint8 [n, R, R, 3].
        errors: [n], in falling order.
    """
    scale = max(1, -(-_LEAST_SIDE // images.shape[1]))
    side = images.shape[1] * scale
    cell = (2 * side + 2 * _GAP, side + _TEXT_HEIGHT + 2 * _GAP)
    columns = min(_COLUMNS, len(images))
    rows = -(-len(images) // columns)
    picture = Image.new("RGB", (columns * cell[0], rows * cell[1]), _BACKGROUND)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default()
    for i, (image, other, error) in enumerate(zip(images, reconstructions, errors, strict=True)):
        left, top = i % columns * cell[0] + _GAP, i // columns * cell[1] + _GAP
        for offset, pixels in ((0, image), (side, other)):
            shown = Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST)
            picture.paste(shown, (left + offset, top))
        colour = _MARK if i < _WORST else _TEXT
        if i < _WORST:
            draw.rectangle((left - 2, top - 2, left + 2 * side + 1, top + side + 1), None, _MARK, 2)
        draw.text((left, top + side + 2), f"{error:.3f}", fill=colour, font=font)
    return picture
