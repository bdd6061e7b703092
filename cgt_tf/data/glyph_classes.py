"""The 100 characters of the bundled glyph data and the fonts that draw them.

Glyphs are scaled to fill the frame, so characters that differ only in size or in height above the
baseline (c and C, o and 0, p and P, r and Γ, ...) look the same: of each such group
at most one is a class.
"""

from __future__ import annotations

_LATIN_CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DIGITS = "123456789"
_LATIN_SMALL = "abdefhijmnty"
_GREEK_CAPITALS = "ΓΔΘΛΞΠΦΨΩ"
_GREEK_SMALL = "αβδεζλμξσω"
_LATIN_EXTRAS = "ÆæØßÞŒŁÜÇÝ"
_CYRILLIC = "ДЦ"
_SYMBOLS = "&€"

SOURCE_CLASSES: tuple[str, ...] = tuple(
    _LATIN_CAPITALS
    + _DIGITS
    + _LATIN_SMALL
    + _GREEK_CAPITALS
    + _GREEK_SMALL
    + _LATIN_EXTRAS
    + _CYRILLIC
    + _SYMBOLS
)
"""The 80 characters a generator is pretrained on; the label is the position."""

TARGET_CLASSES: tuple[str, ...] = tuple("ÖÉÑÅŠĞĤŔŽΣЖЯИШЭЮБЧЫЊ")
"""The 20 characters kept for transfer: each shares strokes or an accent with source classes."""

FONT_FILES: tuple[str, ...] = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSerif-Bold.ttf",
    "STIXGeneral.ttf",
    "STIXGeneralBol.ttf",
)
"""Upright faces shipped with Matplotlib; every class is in every one of them."""

COLOUR_PAIRS: tuple[tuple[tuple[int, int, int], tuple[int, int, int]], ...] = (
    ((20, 20, 20), (245, 245, 245)),
    ((245, 245, 245), (20, 20, 20)),
    ((250, 250, 250), (30, 60, 160)),
    ((190, 25, 40), (250, 240, 215)),
    ((250, 250, 250), (20, 110, 70)),
    ((25, 35, 100), (250, 205, 70)),
)
"""(ink, paper) RGB pairs."""
