"""One picture file -> one uint8 RGB square, by one documented rule.

The rule (`RESIZE_RULE`), in this order: turn by the EXIF orientation; 16-bit gray divided by 257;
palette, CMYK and gray to RGB by Pillow; alpha blended over white; the largest centred square cut
out; that square resized by Pillow's bicubic filter, which is antialiased when it shrinks. Only
the first frame of an animation is read, and colour profiles are ignored. The resize is part of
every metric computed later (Parmar et al., "On Aliased Resizing and Surprising Subtleties in GAN
Evaluation", CVPR 2022), so all image data in this package goes through these functions.
"""

from __future__ import annotations

import os
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

from cgt_tf.errors import InputError

RESIZE_RULE = "v1: EXIF turn, alpha over white, centre crop, Pillow bicubic antialiased"
MINIMUM_SIDE = 8  # Pixels. Below this there is nothing to learn from and enlarging invents it.
RESOLUTIONS = (8, 1024)  # Smallest and largest output side.

# Formats decoded by Pillow itself; anything that would start another program (EPS) is left out.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
)

# What Pillow's decoders are seen to raise on damaged data; MemoryError and bugs here pass through.
_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    AttributeError,
    NotImplementedError,
    struct.error,
    zlib.error,
)


class UnreadableImage(Exception):
    """A file that cannot be used; `reason` is one line without the path."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


def check_resolution(resolution: int) -> int:
    """Returns `resolution`; `InputError` unless it is a whole number in `RESOLUTIONS`."""
    low, high = RESOLUTIONS
    if not isinstance(resolution, int) or not low <= resolution <= high:
        raise InputError(f"expected a resolution of {low} to {high} pixels, got {resolution!r}")
    return resolution


def decode_image(path: str | os.PathLike[str], resolution: int) -> np.ndarray:
    """Decodes a picture file.

    Args:
      path: File in one of `FORMATS`.
      resolution: Output side R in pixels.

    Returns:
      uint8 [R, R, 3], range [0, 255].

    Raises:
      UnreadableImage: empty, damaged, truncated, too small, too large or not a picture.
    """
    return np.asarray(resize_square(read_square(path), check_resolution(resolution)))


def read_square(path: str | os.PathLike[str]) -> Image.Image:
    """Centred square of a picture file at its own size, mode RGB; raises `UnreadableImage`."""
    try:
        if os.path.getsize(path) == 0:
            raise UnreadableImage("empty file (0 bytes)")
        with Image.open(path, formats=FORMATS) as image:
            _check_size(*image.size)
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return _to_rgb(_centre_crop(image))
    except Image.UnidentifiedImageError:
        raise UnreadableImage("not a picture in a known format") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImage(_too_many_pixels()) from None
    except _DECODER_ERRORS as error:
        raise UnreadableImage(f"damaged: {_one_line(error)}") from None


def resize_square(image: Image.Image, resolution: int) -> Image.Image:
    """Resizes a square RGB image to side `resolution` by the documented filter."""
    if image.size == (resolution, resolution):
        return image
    return image.resize((resolution, resolution), Image.Resampling.BICUBIC)


def fit_pixels(pixels: np.ndarray, resolution: int) -> np.ndarray:
    """Brings an image that is already decoded to the documented form.

    Args:
      pixels: uint8 or uint16 [H, W, C] with C = 1 (gray), 3 (RGB) or 4 (RGB and alpha).
      resolution: Output side R in pixels.

    Returns:
      uint8 [R, R, 3], range [0, 255].

    Raises:
      UnreadableImage: a side below `MINIMUM_SIDE`, or another shape or dtype.
    """
    if pixels.dtype == np.uint16:
        pixels = (pixels // 257).astype(np.uint8)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4):
        raise UnreadableImage(
            f"expected uint8 or uint16 [H, W, 1, 3 or 4], got {pixels.dtype} {pixels.shape}"
        )
    height, width, channels = pixels.shape
    if channels == 3 and height == width == resolution:
        return pixels
    _check_size(width, height)
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    return np.asarray(resize_square(_to_rgb(_centre_crop(image)), resolution))


def _check_size(width: int, height: int) -> None:
    if min(width, height) < MINIMUM_SIDE:
        raise UnreadableImage(f"{width}x{height}: a side is below {MINIMUM_SIDE} pixels")
    # Pillow itself only warns up to twice its limit.
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise UnreadableImage(f"{width}x{height}: {_too_many_pixels()}")


def _too_many_pixels() -> str:
    return f"more than Pillow's safety limit of {Image.MAX_IMAGE_PIXELS} pixels"


def _centre_crop(image: Image.Image) -> Image.Image:
    """Largest centred square. Cutting first keeps the resize of a very oblong picture small."""
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return image.crop((left, top, left + side, top + side))


def _to_rgb(image: Image.Image) -> Image.Image:
    """Converts any Pillow mode to RGB without clipping 16 bits or baring hidden colours."""
    if image.mode == "F":
        raise UnreadableImage("floating-point pixels have no defined range")
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _gray16_to_rgb(np.asarray(image))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _gray16_to_rgb(values: np.ndarray) -> Image.Image:
    # Pillow's own convert("RGB") clips at 255 instead of scaling.
    values = values.astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise UnreadableImage(
            f"gray values {values.min()} to {values.max()} do not fit the 16-bit range 0 to 65535"
        )
    return Image.fromarray((values // 257).astype(np.uint8)).convert("RGB")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
