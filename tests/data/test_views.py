"""Views for losses that compare features: each operation against NumPy, and their probabilities."""

import numpy as np
import pytest
import scipy.ndimage

from cgt_tf.data import views

SIDE = 16


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(-1, 1, (6, SIDE, SIDE, 3)).astype(np.float32)


def uniforms(count, batch=6, seed=1):
    return np.random.default_rng(seed).uniform(size=(batch, count)).astype(np.float32)


def ramp(batch):
    """Images whose channels are the row, the column, and 1."""
    row, column = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    return np.broadcast_to(np.stack([row, column, np.ones_like(row)], -1), (batch, SIDE, SIDE, 3))


def test_a_resized_crop_shows_a_box_of_the_image():
    found = views.resized_crop(ramp(400), uniforms(4, 400)).numpy()
    np.testing.assert_allclose(found[..., 2], 1, atol=1e-6)
    first, last = found[:, 0, 0, :2], found[:, -1, -1, :2]
    assert first.min() >= 0 and last.max() <= SIDE - 1 + 1e-4
    height, width = ((last - first) / (SIDE - 1)).T
    area, ratio = height * width, width / height
    assert 0.05 < area.min() < 0.15 and 0.9 < area.max() <= 1.0001
    # A side of a wide crop is cut at the image's.
    assert 0.74 < ratio.min() < 0.8 and 1.25 < ratio.max() < 1.34
    middle = (first + last) / 2
    assert np.abs(middle.mean(axis=0) - (SIDE - 1) / 2).max() < 0.5
    # All of the image where the area is 1.
    whole = np.tile(np.array([[1.0, 0.5, 0.3, 0.9]], np.float32), (2, 1))
    np.testing.assert_allclose(views.resized_crop(ramp(2), whole), ramp(2), atol=1e-4)


def test_grey_blur_and_solarise(images):
    luma = images @ np.array([0.299, 0.587, 0.114], np.float32)
    grey = views.grey(images).numpy()
    np.testing.assert_allclose(grey, np.repeat(luma[..., None], 3, axis=-1), atol=1e-5)
    taps = np.exp(-(np.array([-1, 0, 1]) ** 2) / (2 * 1.05**2))
    kernel = np.outer(taps, taps) / taps.sum() ** 2
    blurred = scipy.ndimage.convolve(images, kernel[None, :, :, None], mode="mirror")
    np.testing.assert_allclose(views.blur(images), blurred, atol=1e-5)
    np.testing.assert_allclose(views.solarise(images), -np.abs(images))


def test_the_two_views_differ_in_blur_and_solarise(images, monkeypatch):
    """With the other operations out of the way, shares are the probabilities."""
    monkeypatch.setattr(views, "resized_crop", lambda images, uniforms: images)
    batch = np.repeat(images[:1], 2000, axis=0)
    u = uniforms(views.NUM_UNIFORMS, len(batch))
    u[:, [4, 8, 9]] = 1 - 1e-6
    for kind, blurred, solarised in zip(views.VIEWS, (0.5, 0.1), (0.0, 0.2), strict=True):
        found = views.view(batch, u, kind).numpy()
        dark = found.reshape(len(batch), -1).max(axis=1) <= 0
        assert abs(dark.mean() - solarised) < 0.03
        same = np.isclose(np.abs(found), np.abs(batch)).all(axis=(1, 2, 3))
        assert abs((~same).mean() - blurred) < 0.03


def test_flip_jitter_and_grey_have_their_probabilities(images, monkeypatch):
    monkeypatch.setattr(views, "resized_crop", lambda images, uniforms: images)
    batch = np.repeat(0.5 * images[:1], 2000, axis=0)
    none = views.View(0.0, 0.0)
    u = uniforms(views.NUM_UNIFORMS, len(batch))
    off = np.ones_like(u)
    for column, share in ((4, 0.5), (8, 0.8), (9, 0.2)):
        chosen = off.copy()
        chosen[:, 5:8] = u[:, 5:8]
        chosen[:, column] = u[:, column]
        found = views.view(batch, chosen, none).numpy()
        changed = ~np.isclose(found, batch).all(axis=(1, 2, 3))
        assert abs(changed.mean() - share) < 0.03
        if column == 4:
            np.testing.assert_array_equal(found[changed][0], batch[0][:, ::-1])
        if column == 9:
            assert np.ptp(found[changed], axis=3).max() < 1e-6
    chosen = off.copy()
    chosen[:, 8], chosen[:, 5:8] = 0.0, 0.5
    np.testing.assert_allclose(views.view(batch, chosen, none), batch, atol=1e-6)
