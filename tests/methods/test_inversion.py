"""Inversion of images into a source, and the codes that are kept: on sources of every form."""

import logging
from typing import ClassVar

import numpy as np
import pytest
import tensorflow as tf
from tiny_sources import FORMS, normal, tiny_source, values

from cgt_tf import progress
from cgt_tf.data.pipeline import to_uint8
from cgt_tf.methods import inversion_cache
from cgt_tf.methods.inversion import (
    Codes,
    InversionSettings,
    Inverter,
    class_input,
    image_hash,
    schedule,
)
from cgt_tf.methods.inversion_cache import InversionCache, invert_images
from cgt_tf.methods.inverted_images import draw_pairs, shown_pairs

FORM = "shared_hierarchical"
SHORT = InversionSettings(steps=3, starts=2)


def images_of(form, count, seed=0):
    """Images uint8 of a source's own."""
    source = tiny_source(form)
    labels = np.arange(count, dtype=np.int32) % source.spec.num_classes
    return to_uint8(source.generator(normal(count, 8, seed=seed), labels)[0]).numpy()


def errors_of(source, codes, images, truncation=1.0):
    given = class_input(source, tf.constant(codes.weights), tf.constant(codes.offset))
    again = source.generator(codes.z, given, truncation=truncation)[0].numpy()
    return np.abs(again - (images / 127.5 - 1)).mean(axis=(1, 2, 3))


def form_cases():
    """One form by default, the others where there is time."""
    default = ("shared_hierarchical",)
    return [f if f in default else pytest.param(f, marks=pytest.mark.slow) for f in FORMS]


@pytest.mark.parametrize("form", form_cases())
def test_an_inversion_brings_the_images_nearer(form, graph):
    source, images = tiny_source(form), images_of(form, 4, seed=7)
    before = [values(source.generator), values(source.discriminator)]
    truncation = 0.5 if form == "truncation_grid" else 1.0
    first, settings = (
        InversionSettings(steps=steps, starts=2, truncation=truncation) for steps in (1, 60)
    )
    steps = []
    codes = Inverter(source, settings, 4).invert(images, lambda: steps.append(None))
    assert len(steps) == 60
    assert codes.error.mean() < 0.8 * Inverter(source, first, 4).invert(images).error.mean()
    width = 6 if form in ("shared_hierarchical", "deep", "truncation_grid") else 0
    assert codes.offset.shape == (4, width)
    np.testing.assert_allclose(codes.weights.sum(axis=1), 1.0, rtol=1e-5)
    expected = errors_of(source, codes, images, truncation)
    np.testing.assert_allclose(codes.error, expected, atol=1e-5)
    if form == "truncation_grid":
        assert np.abs(errors_of(source, codes, images) - expected).max() > 1e-4
    for network, old in zip((source.generator, source.discriminator), before, strict=True):
        for name, value in values(network).items():
            np.testing.assert_array_equal(value, old[name], err_msg=name)


def test_the_learning_rate_rises_and_falls():
    shares = [float(schedule(tf.constant(done))) for done in (0.025, 0.05, 0.4, 0.75, 0.875, 1.0)]
    np.testing.assert_allclose(shares, [0.5, 1.0, 1.0, 1.0, 0.5, 0.0], atol=1e-6)


def test_a_code_depends_on_its_image_and_the_seed_alone():
    source, images = tiny_source(FORM), images_of(FORM, 5)
    settings = InversionSettings(steps=4, starts=2)
    inverter = Inverter(source, settings, 4)
    alone = inverter.invert(images[:1])
    among = inverter.invert(images[[3, 4, 0]]).take([2])
    for a, b in zip(alone, among, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    other = Inverter(source, InversionSettings(steps=4, starts=2, seed=1), 4).invert(images[:1])
    assert np.abs(other.z - alone.z).max() > 0.1


# What is kept.


class FakeInverter:
    """Codes that say which image they are of, without a network."""

    seen: ClassVar[list] = []

    def __init__(self, source, settings, batch):
        self.spec, self.steps = source.spec, settings.steps

    def invert(self, images, on_step):
        self.seen.append([image_hash(image) for image in images])
        for _ in range(self.steps):
            on_step()
        means = images.mean(axis=(1, 2, 3), dtype=np.float32)
        widths = (self.spec.dim_z, self.spec.num_classes, self.spec.shared_dim)
        return Codes(*(np.tile(means[:, None], (1, width)) for width in widths), means)


@pytest.fixture
def counted(monkeypatch):
    """The images that are inverted, batch by batch."""
    monkeypatch.setattr(inversion_cache, "Inverter", FakeInverter)
    monkeypatch.setattr(FakeInverter, "seen", [])
    return FakeInverter.seen


def invert(images, directory, settings=SHORT, batch=2, source=None):
    source = source or tiny_source(FORM)
    cache = InversionCache(source, settings, directory)
    return invert_images(source, images, settings, batch=batch, cache=cache)


def test_a_second_inversion_does_no_work(tmp_path, counted, capsys, monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    images = images_of(FORM, 5)
    first = invert(images, tmp_path)
    assert [len(batch) for batch in counted] == [2, 2, 1]
    assert "inversion of 5 images" in capsys.readouterr().err
    again = invert(images[::-1], tmp_path)
    assert len(counted) == 3 and not capsys.readouterr().err
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b[::-1])


def test_only_new_and_changed_images_are_inverted(tmp_path, counted):
    images = images_of(FORM, 4)
    first = invert(images, tmp_path)
    counted.clear()
    images[1, 0, 0, 0] ^= 255
    second = invert(np.concatenate([images, images[1:2]]), tmp_path)
    assert counted == [[image_hash(images[1])]]
    np.testing.assert_array_equal(second.z[[0, 2, 3]], first.z[[0, 2, 3]])
    np.testing.assert_array_equal(second.z[4], second.z[1])


def test_a_stopped_inversion_goes_on(tmp_path, monkeypatch, counted):
    images = images_of(FORM, 6)
    whole = invert(images, tmp_path / "whole")
    counted.clear()

    class Stopped(Exception):
        pass

    write = InversionCache.write

    def stop(self, hashes, codes):
        write(self, hashes, codes)
        if len(counted) == 2:
            raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(InversionCache, "write", stop)
        invert(images, tmp_path / "stopped")
    found = invert(images, tmp_path / "stopped")
    assert counted == [[image_hash(x) for x in images[i : i + 2]] for i in (0, 2, 4)]
    for a, b in zip(whole, found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_other_settings_and_other_weights_have_entries_of_their_own(tmp_path):
    source = tiny_source(FORM)
    longer = InversionSettings(steps=4, starts=2)
    directories = {
        InversionCache(source, SHORT, tmp_path).directory,
        InversionCache(source, longer, tmp_path).directory,
        InversionCache(tiny_source("truncation_grid"), SHORT, tmp_path).directory,
    }
    assert len(directories) == 3


def test_a_changed_weight_changes_the_fingerprint():
    source = tiny_source(FORM)
    before = inversion_cache.source_fingerprint(source)
    for network in (source.generator, source.discriminator):
        bias = network.linear.bias
        old = bias.numpy()
        bias.assign(old + 1e-3)
        changed = inversion_cache.source_fingerprint(source)
        bias.assign(old)
        assert changed != before
    assert inversion_cache.source_fingerprint(source) == before


def test_damaged_entries_are_computed_again(tmp_path, counted, caplog):
    images = images_of(FORM, 4)
    first = invert(images, tmp_path)
    counted.clear()
    path = sorted(tmp_path.glob("inversions/*/codes-*.npz"))[0]
    path.write_bytes(path.read_bytes()[:200])
    with caplog.at_level(logging.WARNING):
        second = invert(images, tmp_path)
    assert len(counted) == 1 and "damaged" in caplog.text
    np.testing.assert_array_equal(first.z, second.z)


def test_a_place_that_cannot_be_written_to_is_warned_of(tmp_path, counted, caplog):
    (tmp_path / "inversions").write_text("a file")
    with caplog.at_level(logging.WARNING):
        codes = invert(images_of(FORM, 2), tmp_path)
    assert isinstance(codes, Codes) and "was not cached" in caplog.text


# The picture.


def test_the_picture_shows_the_worst_first():
    errors = np.random.default_rng(0).random(100)
    shown = shown_pairs(errors)
    assert len(shown) == 48 == len(set(shown))
    assert (np.diff(errors[shown]) <= 0).all()
    np.testing.assert_array_equal(shown[:16], np.argsort(-errors)[:16])
    assert shown[-1] == errors.argmin()
    assert sorted(shown_pairs(errors[:3])) == [0, 1, 2]


def test_pairs_are_side_by_side_and_the_worst_framed():
    count = 17
    images = np.full((count, 8, 8, 3), 10, np.uint8)
    others = np.full((count, 8, 8, 3), 200, np.uint8)
    picture = np.asarray(draw_pairs(images, others, np.linspace(1, 0, count)))
    assert (picture[10, 10] == 10).all() and (picture[10, 10 + 64] == 200).all()
    framed = (picture == (210, 30, 30)).all(axis=-1)
    cell = (picture.shape[0] // 3, picture.shape[1] // 8)
    assert framed[2, 2] and not framed[2 * cell[0] :, :].any()
