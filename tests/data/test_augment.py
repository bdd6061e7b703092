"""DiffAugment's operations against NumPy, their limits, and their gradients."""

import numpy as np
import pytest
import tensorflow as tf

from cgt_tf.config import AUGMENTATIONS
from cgt_tf.data import augment

SIDE = 16


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(-1, 1, (5, SIDE, SIDE, 3)).astype(np.float32)


def uniforms(count, batch=5, seed=1):
    return np.random.default_rng(seed).uniform(size=(batch, count)).astype(np.float32)


def test_brightness_adds_up_to_half(images):
    u = uniforms(1)
    expected = images + (u - 0.5)[:, :, None, None]
    np.testing.assert_allclose(augment.brightness(images, u), expected, atol=1e-6)


def test_saturation_scales_about_the_mean_of_the_colours(images):
    u = uniforms(1)
    grey = images.mean(axis=3, keepdims=True)
    expected = grey + (images - grey) * 2 * u[:, :, None, None]
    np.testing.assert_allclose(augment.saturation(images, u), expected, atol=1e-6)
    unsaturated = augment.saturation(images, np.zeros_like(u)).numpy()
    np.testing.assert_allclose(np.ptp(unsaturated, axis=3), 0, atol=1e-6)


def test_contrast_scales_about_the_mean_of_the_image(images):
    u = uniforms(1)
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    expected = mean + (images - mean) * (0.5 + u[:, :, None, None])
    np.testing.assert_allclose(augment.contrast(images, u), expected, atol=1e-6)


@pytest.mark.parametrize("operation", [augment.brightness, augment.saturation, augment.contrast])
def test_the_middle_of_a_colour_range_is_the_identity(images, operation):
    middle = np.full((5, 1), 0.5, np.float32)
    np.testing.assert_allclose(operation(images, middle), images, atol=1e-6)


def shifted(image, down, right):
    result = np.zeros_like(image)
    for row in range(SIDE):
        for column in range(SIDE):
            if 0 <= row - down < SIDE and 0 <= column - right < SIDE:
                result[row, column] = image[row - down, column - right]
    return result


def test_translation_shifts_by_whole_pixels_and_fills_with_zeros(images):
    u = uniforms(2)
    found = augment.translation(images, u).numpy()
    shifts = np.floor(u * 5).astype(int) - 2
    assert np.abs(shifts).max() == 2 and len({tuple(s) for s in shifts}) > 2
    for image, result, (down, right) in zip(images, found, shifts, strict=True):
        np.testing.assert_array_equal(result, shifted(image, down, right))


def test_translation_reaches_an_eighth_of_the_side_each_way_and_all_between():
    ramp = np.broadcast_to(np.arange(1, 33, dtype=np.float32)[:, None, None], (32, 32, 3))
    batch = np.broadcast_to(ramp, (500, 32, 32, 3))
    found = augment.translation(batch, uniforms(2, 500)).numpy()
    # Row 16 holds 17 where nothing moved.
    down = 17 - found[:, 16, 16, 0].astype(int)
    assert sorted(set(down)) == list(range(-4, 5))
    assert abs(down.mean()) < 0.4
    right = np.array([np.argmax(row > 0) - np.argmax(row[::-1] > 0) for row in found[:, 16, :, 0]])
    assert sorted(set(right)) == list(range(-4, 5))
    assert abs(np.corrcoef(down, right)[0, 1]) < 0.2


def test_cutout_zeroes_a_square_of_half_the_side(images):
    u = uniforms(2)
    found = augment.cutout(images, u).numpy()
    for image, result, (top, left) in zip(images, found, np.floor(u * 17).astype(int), strict=True):
        expected = image.copy()
        expected[max(top - 4, 0) : top + 4, max(left - 4, 0) : left + 4] = 0
        np.testing.assert_array_equal(result, expected)


def test_cutout_of_the_original_at_its_ends():
    """Offsets 0 and 16 of a square of 8: rows 0 to 3 and rows 12 to 15."""
    ones = np.ones((2, SIDE, SIDE, 3), np.float32)
    ends = np.array([[0, 0], [0.9999999, 0.9999999]], np.float32)
    cut = augment.cutout(ones, ends).numpy()[..., 0] == 0
    assert np.flatnonzero(cut[0].any(axis=1)).tolist() == [0, 1, 2, 3]
    assert np.flatnonzero(cut[1].any(axis=0)).tolist() == [12, 13, 14, 15]


@pytest.mark.parametrize("operation", [augment.translation, augment.cutout])
def test_no_strength_is_the_identity(images, operation):
    np.testing.assert_array_equal(operation(images, uniforms(2), ratio=0.0), images)


def test_no_policy_and_no_probability_are_the_identity(images):
    u = uniforms(augment.NUM_UNIFORMS)
    np.testing.assert_array_equal(augment.augment(images, u, ()), images)
    np.testing.assert_array_equal(augment.augment(images, u, AUGMENTATIONS, 0.0), images)
    always = augment.augment(images, u, AUGMENTATIONS)
    np.testing.assert_array_equal(augment.augment(images, u, AUGMENTATIONS, 1.0), always)
    assert np.abs(always - images).max() > 0.1


@pytest.mark.parametrize("policy", [(name,) for name in AUGMENTATIONS])
def test_probability_is_of_each_image(policy):
    batch = np.random.default_rng(0).uniform(-1, 1, (2000, 8, 8, 3)).astype(np.float32)
    u = uniforms(augment.NUM_UNIFORMS, 2000)
    changed = np.any(augment.augment(batch, u, policy, 0.3) != batch, axis=(1, 2, 3))
    always = np.any(augment.augment(batch, u, policy) != batch, axis=(1, 2, 3))
    # Three operations of `color` have a coin each; a translation is by nothing at times.
    expected = {"color": 1 - 0.7**3}.get(policy[0], 0.3 * always.mean())
    assert changed.mean() == pytest.approx(expected, abs=0.035)


def test_operations_of_a_policy_keep_their_numbers(images):
    u = uniforms(augment.NUM_UNIFORMS)
    cut = augment.augment(images, u, ("cutout",))
    both = augment.augment(images, u, ("translation", "cutout"))
    np.testing.assert_array_equal(np.all(cut == 0, axis=3) <= np.all(both == 0, axis=3), True)
    by_hand = augment.augment(augment.augment(images, u, ("translation",)), u, ("cutout",))
    np.testing.assert_array_equal(both, by_hand)


def test_images_of_a_batch_are_treated_differently():
    image = np.random.default_rng(3).uniform(-1, 1, (SIDE, SIDE, 3)).astype(np.float32)
    same = np.broadcast_to(image, (6, SIDE, SIDE, 3))
    for policy in AUGMENTATIONS:
        found = augment.augment(same, uniforms(augment.NUM_UNIFORMS, 6), (policy,)).numpy()
        assert len({image.tobytes() for image in found}) > 3, policy


@pytest.mark.parametrize("policy", [(name,) for name in AUGMENTATIONS])
def test_gradients_reach_the_images(images, policy):
    """Every operation is affine in the image: the gradient gives its finite difference exactly."""
    rng = np.random.default_rng(2)
    weights = rng.normal(size=images.shape).astype(np.float32)
    direction = rng.normal(size=images.shape).astype(np.float32)
    u = uniforms(augment.NUM_UNIFORMS)

    def value(x):
        return tf.reduce_sum(augment.augment(x, u, policy) * weights)

    x = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = value(x)
    gradient = tape.gradient(total, x)
    assert np.count_nonzero(gradient) > gradient.shape.num_elements() / 2
    slope = float(tf.reduce_sum(gradient * direction))
    difference = float(value(x + direction) - value(x))
    assert slope == pytest.approx(difference, rel=1e-3, abs=1e-2)


def test_inside_a_function_too(images):
    u = uniforms(augment.NUM_UNIFORMS)
    compiled = tf.function(lambda x, u: augment.augment(x, u, AUGMENTATIONS, 0.5))
    expected = augment.augment(images, u, AUGMENTATIONS, 0.5)
    np.testing.assert_allclose(compiled(images, u), expected, atol=1e-6)
