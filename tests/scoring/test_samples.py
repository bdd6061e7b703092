"""What is scored: drawn and given images, their canonical order, and their PNG files."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from cgt_tf.data.image_set import ImageSet
from cgt_tf.data.sources import load_images
from cgt_tf.errors import InputError
from cgt_tf.scoring.samples import GeneratedImages, GivenImages, canonical_order
from cgt_tf.scoring.saved_samples import saved

NAMES = ("Ж", "dog")


def sample(z, labels):
    row = tf.tanh(z[:, :3]) * 0.5 + tf.cast(labels, tf.float32)[:, None] * 0.1
    return tf.tile(row[:, None, None], [1, 8, 8, 1])


def drawn(count=25, batch_size=10):
    labels = (np.arange(count) % 2).astype(np.int32)
    return GeneratedImages(sample, labels, NAMES, 4, batch_size, seed=3)


def test_single_images_can_be_drawn_again():
    samples = drawn()
    images = np.concatenate(list(samples))
    np.testing.assert_array_equal(np.concatenate(list(samples)), images)
    rows = np.array([24, 0, 7, 7, 13, 2, 3, 4, 5, 6, 8])
    np.testing.assert_array_equal(samples.take(rows), images[rows])


def test_given_images_are_their_set():
    images = ImageSet(np.concatenate(list(drawn())), drawn().labels, NAMES, "given")
    samples = GivenImages(images)
    np.testing.assert_array_equal(np.concatenate(list(samples)), images.images)
    np.testing.assert_array_equal(samples.take(np.array([3, 1])), images.images[[3, 1]])
    assert samples.class_names == NAMES


@pytest.mark.parametrize("last", [0, 1])  # 6 and 4 images, or 5 and 5, with ties among the ranks
def test_canonical_order_depends_on_the_order_within_classes_only(last):
    labels = np.array([0, 1, 0, 1, 0, 1, 0, 1, 0, last])
    order = canonical_order(labels, ("b", "a"))
    by_class = np.argsort(labels, kind="stable")
    again = by_class[canonical_order(labels[by_class], ("b", "a"))]
    np.testing.assert_array_equal(order, again)
    renumbered = by_class[canonical_order(1 - labels[by_class], ("a", "b"))]
    np.testing.assert_array_equal(order, renumbered)
    assert sorted(order) == list(range(10))
    assert np.bincount(labels[order[:4]]).tolist() == [2, 2]
    np.testing.assert_array_equal(canonical_order(np.zeros(4, int), ("a",)), range(4))


def test_saved_samples_are_class_folders_of_the_same_images(tmp_path):
    samples = drawn(count=23)
    with saved(samples, str(tmp_path / "samples")) as images:
        seen = np.concatenate(list(images))
        assert not (tmp_path / "samples").exists()
    np.testing.assert_array_equal(seen, np.concatenate(list(samples)))
    folder = load_images(str(tmp_path / "samples"), resolution=8, cache_dir=tmp_path / "cache")
    assert folder.class_names == ("dog", "Ж")
    np.testing.assert_array_equal(folder.images[folder.labels == 0], seen[samples.labels == 1])
    np.testing.assert_array_equal(folder.images[folder.labels == 1], seen[samples.labels == 0])
    names = sorted(path.name for path in (tmp_path / "samples").rglob("*.png"))
    assert names == [f"{i:02d}.png" for i in range(23)]


def test_nothing_is_saved_when_scoring_fails(tmp_path):
    with (
        pytest.raises(InputError, match="later"),
        saved(drawn(), str(tmp_path / "new" / "samples")) as images,
    ):
        list(images)
        raise InputError("later")
    assert list(tmp_path.iterdir()) == []
    with saved(samples := drawn(), "") as same:
        assert same is samples


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a/b", "c"), "that can name folders, got 'a/b'"),
        (("", "c"), "that can name folders, got ''"),
        (("a ", "c"), "that can name folders, got 'a '"),
        ((".a", "c"), "do not start with a dot, got '.a'"),
        (("a", "e\u0301"), "that can name folders"),
    ],
)
def test_class_names_that_name_no_folder_are_input_errors(tmp_path, names, message):
    samples = GeneratedImages(sample, np.arange(2, dtype=np.int32), names, 4)
    with pytest.raises(InputError, match=message), saved(samples, str(tmp_path / "samples")):
        pass
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_there_are_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with (
        pytest.raises(InputError, match="new or empty directory to save samples"),
        saved(drawn(), str(tmp_path)),
    ):
        pass
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "mine.txt"]
