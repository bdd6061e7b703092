"""Drawing the images to be measured: determinism, balance, and what is refused."""

import numpy as np
import pytest
import tensorflow as tf

from cgt_tf.errors import InputError
from cgt_tf.latents import draw_latents
from cgt_tf.scoring.generate import draw_labels, generate_images, to_uint8


def sample(z, labels):
    """Images whose pixels show the latent and the label."""
    row = tf.tanh(z[:, :6]) * 0.5 + tf.cast(labels, tf.float32)[:, None] * 0.1
    return tf.reshape(row, [-1, 1, 2, 3])


def draw(num_samples=250, num_classes=4, **arguments):
    labels = draw_labels("uniform", num_samples, num_classes)
    return np.concatenate(list(generate_images(sample, labels, 8, **arguments)))


def test_images_have_the_stated_type_and_their_labels():
    images = draw()
    assert images.shape == (250, 1, 2, 3) and images.dtype == np.uint8
    same_latents = np.concatenate(list(generate_images(sample, np.zeros(250, np.int32), 8)))
    difference = images.astype(int) - same_latents.astype(int)
    np.testing.assert_allclose(
        difference.mean(axis=(1, 2, 3)), np.arange(250) % 4 * 12.75, atol=0.6
    )


def test_uniform_labels_are_in_equal_numbers():
    labels = draw_labels("uniform", 10, 4)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(labels, [0, 1, 2, 3, 0, 1, 2, 3, 0, 1])


def test_labels_as_data_are_in_proportion_and_shuffled_by_the_seed():
    labels = draw_labels("as_data", 100, 3, [10, 60, 31], seed=1)
    assert labels.dtype == np.int32
    np.testing.assert_array_equal(np.bincount(labels), [10, 59, 31])
    np.testing.assert_array_equal(labels, draw_labels("as_data", 100, 3, [10, 60, 31], seed=1))
    other = draw_labels("as_data", 100, 3, [10, 60, 31], seed=2)
    assert (labels != other).any() and (np.sort(labels) == np.sort(other)).all()
    assert len(np.unique(labels[:25])) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("uniform", 3, 4), "each of 4 classes, got 3 samples"),
        (("uniform", 3, 0), "each of 0 classes"),
        (("random", 4, 4), r"out of \['uniform', 'as_data'\], got 'random'"),
        (("as_data", 10, 2, [1]), r"each of 2 classes .* got \[1\]"),
        (("as_data", 10, 2, [1, 0]), r"each of 2 classes .* got \[1, 0\]"),
        (("as_data", 10, 2, [1, 1], -1), "seed of at least 0, got .* -1"),
        (("as_data", 10, 2, [1, 99]), "rarest of 2 classes, got 10 for 1 of 100 images"),
    ],
)
def test_wrong_label_requests_are_input_errors(arguments, message):
    with pytest.raises(InputError, match=message):
        draw_labels(*arguments)


@pytest.mark.parametrize("batch_size", [1, 30, 100, 128, 300])
def test_images_do_not_depend_on_the_batch_size(batch_size):
    expected = draw(num_samples=130, batch_size=100)
    np.testing.assert_array_equal(draw(num_samples=130, batch_size=batch_size), expected)


def test_images_depend_on_the_seed_only():
    np.testing.assert_array_equal(draw(seed=3), draw(seed=3))
    assert (draw(seed=3) != draw(seed=4)).any(axis=(1, 2, 3)).mean() > 0.9
    tf.random.set_seed(1)
    np.testing.assert_array_equal(draw(num_samples=5, seed=3), draw(seed=3)[:5])


def test_the_generator_always_gets_full_batches():
    sizes = []

    def recording(z, labels):
        sizes.append((z.shape, z.dtype, labels.shape, labels.dtype))
        return sample(z, labels)

    labels = draw_labels("uniform", 7, 3)
    batches = list(generate_images(recording, labels, 8, batch_size=4))
    assert [len(images) for images in batches] == [4, 3]
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
        ({"labels": np.zeros(0, np.int32)}, "labels of at least 1, got 0"),
        ({"dim_z": 0}, "dim_z of at least 1, got 0"),
        ({"batch_size": 0}, "batch_size of at least 1, got 0"),
        ({"truncation": 0.0}, r"truncation in \(0, 1\], got 0.0"),
        ({"truncation": 1.5}, r"truncation in \(0, 1\], got 1.5"),
        ({"truncation": float("nan")}, "truncation"),
    ],
)
def test_wrong_arguments_are_input_errors_before_any_image(arguments, message):
    with pytest.raises(InputError, match=message):
        generate_images(sample, **{"labels": np.zeros(8, np.int32), "dim_z": 8, **arguments})


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
        list(generate_images(lambda z, labels: tf.constant(output), np.zeros(8), 8, batch_size=4))
