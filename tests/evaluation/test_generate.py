"""Drawing the images to be measured: determinism, balance, and what is refused."""

import numpy as np
import pytest
import tensorflow as tf

from cgt_tf.errors import InputError
from cgt_tf.evaluation.generate import draw_latents, generate_images, to_uint8


def sample(z, labels):
    """Images whose pixels show the latent and the label."""
    row = tf.tanh(z[:, :6]) * 0.5 + tf.cast(labels, tf.float32)[:, None] * 0.1
    return tf.reshape(row, [-1, 1, 2, 3])


def draw(num_samples=250, num_classes=4, **arguments):
    batches = list(generate_images(sample, num_samples, num_classes, dim_z=8, **arguments))
    return np.concatenate([b[0] for b in batches]), np.concatenate([b[1] for b in batches])


def test_batches_have_the_stated_types_and_balanced_labels():
    images, labels = draw()
    assert images.shape == (250, 1, 2, 3) and images.dtype == np.uint8
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, np.arange(250) % 4)


@pytest.mark.parametrize("batch_size", [1, 30, 100, 128, 300])
def test_images_do_not_depend_on_the_batch_size(batch_size):
    expected = draw(num_samples=130, batch_size=100)
    for array, wanted in zip(draw(num_samples=130, batch_size=batch_size), expected, strict=True):
        np.testing.assert_array_equal(array, wanted)


def test_images_depend_on_the_seed_only():
    np.testing.assert_array_equal(draw(seed=3)[0], draw(seed=3)[0])
    assert (draw(seed=3)[0] != draw(seed=4)[0]).any(axis=(1, 2, 3)).mean() > 0.9
    tf.random.set_seed(1)
    np.testing.assert_array_equal(draw(num_samples=5, seed=3)[0], draw(seed=3)[0][:5])


def test_the_generator_always_gets_full_batches():
    sizes = []

    def recording(z, labels):
        sizes.append((z.shape, z.dtype, labels.shape, labels.dtype))
        return sample(z, labels)

    batches = list(generate_images(recording, 7, 3, batch_size=4, dim_z=8))
    assert [len(images) for images, _ in batches] == [4, 3]
    assert sizes == [((4, 8), tf.float32, (4,), tf.int32)] * 2


def test_latents_are_standard_normal_and_truncation_cuts_and_scales():
    full = draw_latents(0, 0, 20_000, 10).numpy()
    assert full.mean() == pytest.approx(0, abs=0.01) and full.std() == pytest.approx(1, abs=0.01)
    assert np.abs(full).max() > 3
    cut = draw_latents(0, 0, 20_000, 10, truncation=0.5).numpy()
    assert 0.99 < np.abs(cut).max() <= 1.0
    # The variance of a normal cut to [-2, 2] is 0.774.
    assert cut.std() == pytest.approx(0.5 * np.sqrt(0.774), abs=0.01)


def test_latents_of_different_chunks_differ():
    latents = draw_latents(0, 0, 300, 4).numpy()
    assert len(np.unique(latents[:, 0])) == 300
    np.testing.assert_array_equal(draw_latents(0, 150, 260, 4).numpy(), latents[150:260])


def test_to_uint8_rounds_to_nearest_and_inverts():
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_uint8(levels.astype(np.float32) / 127.5 - 1), levels)
    np.testing.assert_array_equal(to_uint8(np.float32([-1.0001, 1.0001])), [0, 255])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_samples": 0}, "num_samples of at least 1, got 0"),
        ({"num_classes": 0}, "num_classes of at least 1, got 0"),
        ({"batch_size": 0}, "batch_size of at least 1, got 0"),
        ({"truncation": 0.0}, r"truncation in \(0, 1\], got 0.0"),
        ({"truncation": 1.5}, r"truncation in \(0, 1\], got 1.5"),
        ({"truncation": float("nan")}, "truncation"),
    ],
)
def test_wrong_arguments_are_input_errors_before_any_image(arguments, message):
    with pytest.raises(InputError, match=message):
        generate_images(sample, **{"num_samples": 8, "num_classes": 2, **arguments})


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (np.zeros((4, 2, 2, 1), np.float32), r"return images \[4, H, W, 3\], got \[4, 2, 2, 1\]"),
        (np.zeros((3, 2, 2, 3), np.float32), r"got \[3, 2, 2, 3\]"),
        (np.zeros((4, 2, 2, 3), np.uint8), "floats in .* got uint8"),
        (np.full((4, 2, 2, 3), np.nan, np.float32), "finite .* samples 0 to 3"),
        (np.full((4, 2, 2, 3), 255.0, np.float32), r"in \[-1, 1\], got a value of size 255"),
    ],
)
def test_wrong_generator_output_is_an_input_error(output, message):
    with pytest.raises(InputError, match=message):
        list(generate_images(lambda z, labels: tf.constant(output), 8, 2, batch_size=4, dim_z=8))
