"""`bundled:glyphs`: 100 characters rendered at 32x32 from the fonts shipped with Matplotlib.

A class is a shape; font, weight, slant, size, place and colours vary within it. Every image is
drawn from a seed made of its character, split and index alone, so an image is the same in
whichever order or subset it is rendered.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import json
import math
import pathlib
import random
import shutil
from collections.abc import Iterator
from typing import Any, ClassVar

import matplotlib
import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

from cgt_tf.data import prepared
from cgt_tf.data.glyph_classes import (
    COLOUR_PAIRS,
    FONT_FILES,
    SOURCE_CLASSES,
    TARGET_CLASSES,
)
from cgt_tf.errors import InputError
from cgt_tf.files import read_json, write_atomically

RESOLUTION = 32
SUBSETS = ("source", "target")
SPLITS = ("train", "test")

_FONT_SIZE = 160  # Pixels; large enough that the sampled outline, not its raster, sets the edges.
# Extra pen width at _FONT_SIZE; bold faces get little, or counters and the dot of i close up.
_STROKES = (0, 2, 4)
_BOLD_STROKES = (0, 0, 1)
_MAX_STRETCH = 1.2  # Largest change of a glyph's aspect ratio towards the square frame.
_FILL = 0.92  # Longer side of the ink box at scale 1, as a share of the frame.
_SCALE = (0.88, 1.0)
_ROTATION_DEGREES = 6.0
_SHEAR = 0.1
_OFFSET = 1.0 / 32.0  # Share of the frame.
_SUPERSAMPLE = 4


def font_path(file_name: str) -> pathlib.Path:
    """Path of a font file that Matplotlib ships; `InputError` if this Matplotlib lacks it."""
    path = pathlib.Path(matplotlib.get_data_path(), "fonts", "ttf", file_name)
    if not path.is_file():
        raise InputError(f"expected Matplotlib to ship the font {file_name}, found no {path}")
    return path


@functools.cache
def font_characters(file_name: str) -> frozenset[str]:
    """Characters that the font file's character map really contains."""
    return frozenset(chr(code) for code in FT2Font(str(font_path(file_name))).get_charmap())


def render(character: str, split: str, index: int, resolution: int = RESOLUTION) -> np.ndarray:
    """Draws one image.

    Args:
      character: One of `SOURCE_CLASSES` or `TARGET_CLASSES`.
      split: "train" or "test".
      index: Number of the image within its class and split, from 0.
      resolution: Side of the image in pixels; the drawing is the same at every resolution.

    Returns:
      uint8 [resolution, resolution, 3], range [0, 255].

    Raises:
      InputError: unknown character or split, negative index or resolution below 8.
    """
    if character not in SOURCE_CLASSES and character not in TARGET_CLASSES:
        raise InputError(f"expected one of the 100 glyph classes, got {character!r}")
    if split not in SPLITS:
        raise InputError(f"expected split to be one of {', '.join(SPLITS)}, got {split!r}")
    if index < 0 or resolution < 8:
        raise InputError(
            f"expected index >= 0 and resolution >= 8, got index {index}, resolution {resolution}"
        )
    # Seeding from a string and random() are the two parts of `random` that Python keeps stable.
    draw = random.Random(f"{character}/{split}/{index}").random
    font = FONT_FILES[int(draw() * len(FONT_FILES))]
    strokes = _BOLD_STROKES if "Bol" in font else _STROKES
    stroke = strokes[int(draw() * len(strokes))]
    ink, paper = COLOUR_PAIRS[int(draw() * len(COLOUR_PAIRS))]
    coverage = _warp(_glyph_mask(character, font, stroke), draw, resolution)
    mix = coverage[..., None].astype(np.float32) / 255.0
    colours = mix * np.float32(ink) + (1.0 - mix) * np.float32(paper)
    return np.rint(colours).astype(np.uint8)


@functools.cache
def _font(file_name: str) -> ImageFont.FreeTypeFont:
    # The basic layout engine gives the same outlines whether or not Raqm is installed.
    return ImageFont.truetype(
        str(font_path(file_name)), _FONT_SIZE, layout_engine=ImageFont.Layout.BASIC
    )


@functools.lru_cache(maxsize=4096)
def _glyph_mask(character: str, file_name: str, stroke: int) -> Image.Image:
    """Ink of a character, cropped to its box, mode L."""
    if character not in font_characters(file_name):
        raise InputError(f"expected the font {file_name} to contain {character!r}, it does not")
    canvas = Image.new("L", (3 * _FONT_SIZE, 3 * _FONT_SIZE))
    ImageDraw.Draw(canvas).text(
        (_FONT_SIZE, _FONT_SIZE), character, fill=255, font=_font(file_name), stroke_width=stroke
    )
    return canvas.crop(canvas.getbbox())


def _warp(mask: Image.Image, draw: Any, resolution: int) -> np.ndarray:
    """Fits the mask to the frame and turns, slants, scales and shifts it.

    Returns uint8 [resolution, resolution] ink coverage.
    """
    side = _SUPERSAMPLE * resolution
    angle = math.radians(_between(draw, -_ROTATION_DEGREES, _ROTATION_DEGREES))
    shear = _between(draw, -_SHEAR, _SHEAR)
    scale = _between(draw, *_SCALE)
    shift_x = _between(draw, -_OFFSET, _OFFSET) * side
    shift_y = _between(draw, -_OFFSET, _OFFSET) * side
    width, height = mask.size
    stretch = min(_MAX_STRETCH, max(width, height) / min(width, height))
    stretch_x, stretch_y = (stretch, 1.0) if width < height else (1.0, stretch)
    cos, sin = math.cos(angle), math.sin(angle)
    # Forward map, centred mask to centred frame: rotation @ shear @ stretch.
    forward = np.array(
        [
            [cos * stretch_x, (cos * shear - sin) * stretch_y],
            [sin * stretch_x, (sin * shear + cos) * stretch_y],
        ]
    )
    box = np.abs(forward) @ np.array([width, height])
    upright = max(width * stretch_x, height * stretch_y)
    # The turned box may not leave the frame, whatever the drawn scale and shift.
    largest = (side - 2.0 * max(abs(shift_x), abs(shift_y))) / box.max()
    forward *= min(scale * _FILL * side / upright, largest)
    inverse = np.linalg.inv(forward)
    centre = np.array([width, height]) / 2.0 - inverse @ (
        np.array([side, side]) / 2.0 + np.array([shift_x, shift_y])
    )
    (a, b), (d, e) = inverse
    warped = mask.transform(
        (side, side),
        Image.Transform.AFFINE,
        (a, b, centre[0], d, e, centre[1]),
        resample=Image.Resampling.BILINEAR,
    )
    return np.asarray(warped.reduce(_SUPERSAMPLE))


def _between(draw: Any, low: float, high: float) -> float:
    return low + (high - low) * draw()


@dataclasses.dataclass
class GlyphsConfig(tfds.core.BuilderConfig):
    """A subset of the classes and its number of images per class in each split."""

    classes: tuple[str, ...] = ()
    train_per_class: int = 0
    test_per_class: int = 0


class CgtGlyphs(tfds.core.GeneratorBasedBuilder):
    """TFDS builder `cgt_glyphs` with the configs `source` (80 classes) and `target` (20)."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar[list[GlyphsConfig]] = [
        GlyphsConfig(
            name="source",
            description="80 characters for pretraining.",
            classes=SOURCE_CLASSES,
            train_per_class=500,
            test_per_class=50,
        ),
        GlyphsConfig(
            name="target",
            description="20 characters for transfer.",
            classes=TARGET_CLASSES,
            train_per_class=600,
            test_per_class=400,
        ),
    ]

    # Nothing is downloaded. Without this TFDS looks for a checksum file beside this module, by way
    # of the package importlib_resources, which TFDS 4.9.10 uses and does not require.
    url_infos: ClassVar[dict[str, Any]] = {}

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description="Characters rendered at 32x32 from the fonts shipped with Matplotlib.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(
                        shape=(RESOLUTION, RESOLUTION, 3), encoding_format="png"
                    ),
                    "label": tfds.features.ClassLabel(names=list(self.builder_config.classes)),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        del dl_manager  # Nothing is downloaded.
        config = self.builder_config
        return {
            "train": self._generate_examples("train", config.train_per_class),
            "test": self._generate_examples("test", config.test_per_class),
        }

    def _generate_examples(
        self, split: str, per_class: int
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for label, character in enumerate(self.builder_config.classes):
            for index in range(per_class):
                yield (
                    f"{label:03d}_{index:05d}",
                    {"image": _png(render(character, split, index)), "label": label},
                )


def _png(image: np.ndarray) -> io.BytesIO:
    # TFDS would have TensorFlow encode each array, which takes as long as to draw it.
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png", compress_level=1)
    file.seek(0)
    return file


def prepare(subset: str, data_dir: str | pathlib.Path | None = None) -> CgtGlyphs:
    """Returns the builder of a subset, rendering its records first if `data_dir` lacks them.

    Args:
      subset: "source" or "target".
      data_dir: TFDS data directory; None is the TFDS default (`~/tensorflow_datasets`).

    Returns:
      A prepared builder; `as_dataset` gives image uint8 [32, 32, 3] and label int64 [].

    Raises:
      InputError: unknown subset.
    """
    if subset not in SUBSETS:
        raise InputError(f"expected glyph subset {' or '.join(SUBSETS)}, got {subset!r}")
    verbosity = logging.get_verbosity()
    # The progress bar says enough; TFDS adds a dozen INFO lines under `absl.app`.
    logging.set_verbosity(min(verbosity, logging.WARNING))
    try:
        # Before the builder is made, which reads some of the files.
        root = pathlib.Path(data_dir or tfds.core.constants.DATA_DIR).expanduser()
        directory = root / CgtGlyphs.name / subset / str(CgtGlyphs.VERSION)
        reason = _damage(directory)
        if reason:
            logging.warning("%s is damaged (%s) and is rendered again", directory, reason)
            shutil.rmtree(directory)
        builder = CgtGlyphs(config=subset, data_dir=str(root))
        # On stdout TFDS says that it downloads, which it does not.
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(try_download_gcs=False)
            )
        checksums = directory / prepared.CHECKSUMS_NAME
        if not checksums.is_file():
            write_atomically(checksums, json.dumps(prepared.file_facts(directory)))
    finally:
        logging.set_verbosity(verbosity)
    return builder


def _damage(directory: pathlib.Path) -> str | None:
    """What is wrong with rendered records, None where nothing is, or where there are none yet."""
    checksums = directory / prepared.CHECKSUMS_NAME
    if not checksums.is_file():
        return None
    try:
        return prepared.damage(directory, read_json(checksums, "checksums"))
    except InputError as error:
        return str(error)
