"""Tests of the bundled glyph data: class tables, rendering and the TFDS builder."""

import socket
import unicodedata

import numpy as np
import pytest

from cgt_tf.data import glyphs
from cgt_tf.data.glyph_classes import (
    COLOUR_PAIRS,
    FONT_FILES,
    SOURCE_CLASSES,
    TARGET_CLASSES,
)
from cgt_tf.errors import InputError

ALL_CLASSES = SOURCE_CLASSES + TARGET_CLASSES


def ink(image: np.ndarray) -> np.ndarray:
    """Boolean [H, W]: pixels nearer to the ink than to the paper of the image's colour pair."""
    pixels = image.astype(np.float64)
    error = [
        np.minimum(np.abs(pixels - front).sum(axis=-1), np.abs(pixels - back).sum(axis=-1)).sum()
        for front, back in COLOUR_PAIRS
    ]
    # Black on white and white on black fit equally well; the paper is what the frame's rim shows.
    front, back = COLOUR_PAIRS[int(np.argmin(error))]
    near_front = np.abs(pixels - front).sum(axis=-1) < np.abs(pixels - back).sum(axis=-1)
    rim = np.concatenate([near_front[0], near_front[-1], near_front[:, 0], near_front[:, -1]])
    return near_front if rim.mean() < 0.5 else ~near_front


def test_class_tables():
    assert len(SOURCE_CLASSES) == 80
    assert len(TARGET_CLASSES) == 20
    assert len(set(ALL_CLASSES)) == 100
    for name in ALL_CLASSES:
        assert len(name) == 1
        assert unicodedata.normalize("NFC", name) == name


@pytest.mark.parametrize(
    "group", ["cC", "oO", "0O", "sS", "vV", "xX", "zZ", "wW", "pP", "rΓ", "lI"]
)
def test_no_two_classes_differ_only_in_size(group):
    assert len(set(group) & set(ALL_CLASSES)) <= 1


@pytest.mark.parametrize("font", FONT_FILES)
def test_font_contains_every_class(font):
    assert set(ALL_CLASSES) <= glyphs.font_characters(font)


def test_font_without_the_character_is_an_error():
    with pytest.raises(InputError, match="to contain"):
        glyphs._glyph_mask("漢", FONT_FILES[0], 0)


def test_same_image_in_any_order():
    keys = [(name, split, index) for name in "AÖЖ" for split in glyphs.SPLITS for index in (0, 7)]
    first = {key: glyphs.render(*key).tobytes() for key in keys}
    glyphs._glyph_mask.cache_clear()
    glyphs._font.cache_clear()
    second = {key: glyphs.render(*key).tobytes() for key in reversed(keys)}
    assert first == second
    assert len(set(first.values())) == len(keys)


def test_render_gives_uint8_at_any_resolution():
    for resolution in (8, 32, 64):
        image = glyphs.render("Ñ", "test", 3, resolution)
        assert image.dtype == np.uint8
        assert image.shape == (resolution, resolution, 3)
    small = glyphs.render("Ñ", "test", 3, 32).astype(np.float64)
    large = glyphs.render("Ñ", "test", 3, 64).astype(np.float64)
    halved = large.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(halved - small).mean() < 6.0


@pytest.mark.parametrize("name", ALL_CLASSES)
def test_glyph_is_large_and_inside_the_frame(name):
    for index in range(4):
        mask = ink(glyphs.render(name, "train", index))
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        longer = max(np.ptp(rows), np.ptp(columns)) + 1
        assert 0.70 * 32 <= longer <= 32
        assert 0.04 <= mask.mean() <= 0.75


def test_accents_occupy_several_pixels():
    for accented in "ÖÉÑÅŠĞĤŔŽÜÝ":
        for font in FONT_FILES:
            mask = np.asarray(glyphs._glyph_mask(accented, font, 0)) > 127
            height, width = mask.shape
            side = max(height, width) / (32 * glyphs._FILL)  # Mask pixels per image pixel.
            top = mask[: int(0.2 * height)]
            assert top.sum() / side**2 >= 5.0, (accented, font)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("漢", "train", 0), "one of the 100 glyph classes"),
        (("A", "validation", 0), "split to be one of"),
        (("A", "train", -1), "index >= 0"),
        (("A", "train", 0, 4), "resolution >= 8"),
    ],
)
def test_bad_arguments_are_input_errors(arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        glyphs.render(*arguments)
    assert "\n" not in str(caught.value)


def test_prepare_rejects_an_unknown_subset(tmp_path):
    with pytest.raises(InputError, match="expected glyph subset source or target"):
        glyphs.prepare("both", tmp_path)
    assert not list(tmp_path.iterdir())


def test_configs():
    configs = {config.name: config for config in glyphs.CgtGlyphs.BUILDER_CONFIGS}
    assert glyphs.CgtGlyphs.name == "cgt_glyphs"
    assert (configs["source"].train_per_class, configs["source"].test_per_class) == (500, 50)
    assert (configs["target"].train_per_class, configs["target"].test_per_class) == (600, 400)
    assert configs["source"].classes == SOURCE_CLASSES
    assert configs["target"].classes == TARGET_CLASSES


@pytest.fixture
def tiny_configs(monkeypatch):
    """Three images per class for training and two for testing, and no way out to a network."""

    def refuse(*arguments, **keywords):
        raise OSError("network is off in tests")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for config in glyphs.CgtGlyphs.BUILDER_CONFIGS:
        monkeypatch.setattr(config, "train_per_class", 3)
        monkeypatch.setattr(config, "test_per_class", 2)


@pytest.mark.parametrize(
    ("subset", "names"), [("source", SOURCE_CLASSES), ("target", TARGET_CLASSES)]
)
def test_prepared_data(tiny_configs, tmp_path, subset, names, capsys):
    builder = glyphs.prepare(subset, tmp_path)
    assert capsys.readouterr().out == ""
    assert builder.info.features["label"].names == list(names)
    for split, per_class in (("train", 3), ("test", 2)):
        assert builder.info.splits[split].num_examples == per_class * len(names)
        expected = sorted(
            (label, glyphs.render(name, split, index).tobytes())
            for label, name in enumerate(names)
            for index in range(per_class)
        )
        examples = list(builder.as_dataset(split=split).as_numpy_iterator())
        assert {example["image"].shape for example in examples} == {(32, 32, 3)}
        found = sorted((int(one["label"]), one["image"].tobytes()) for one in examples)
        assert found == expected


def test_second_prepare_reads_what_is_there(tiny_configs, tmp_path, monkeypatch):
    glyphs.prepare("target", tmp_path)

    def refuse(*arguments):
        raise AssertionError("rendered again")

    monkeypatch.setattr(glyphs, "render", refuse)
    builder = glyphs.prepare("target", tmp_path)
    assert builder.info.splits["train"].num_examples == 60
