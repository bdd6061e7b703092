"""The picture of generated images beside the nearest real ones."""

import numpy as np
import pytest

from cgt_tf.data.image_set import ImageSet
from cgt_tf.scoring.nearest import nearest_picture
from cgt_tf.scoring.samples import GivenImages

NAMES = ("dog", "Ж")


def images_of(count, seed, side):
    shape = (count, side, side, 3)
    images = np.random.default_rng(seed).integers(0, 200, shape, np.uint8)
    return ImageSet(images, (np.arange(count) % 2).astype(np.int32), NAMES, "images")


def places(picture, image, scale):
    """Where an enlarged image is in a picture."""
    image = image.repeat(scale, 0).repeat(scale, 1)
    height, width = image.shape[:2]
    return [
        (top, left)
        for top, left in np.argwhere((picture == image[0, 0]).all(axis=2)).tolist()
        if np.array_equal(picture[top : top + height, left : left + width], image)
    ]


@pytest.mark.parametrize(("side", "scale"), [(16, 6), (100, 1)])
def test_each_generated_image_stands_before_its_nearest_real_ones(side, scale):
    """By features of one number, which tell the order; the nearest generated image is first."""
    fake, real = images_of(3, 0, side), images_of(5, 1, side)
    features, known = (
        np.array([[0.0], [10.0], [4.4]]),
        np.array([[4.0], [3.0], [9.9], [1.0], [6.0]]),
    )
    distances = np.array([1.0, 0.1, 0.4])
    picture = nearest_picture(GivenImages(fake), features, distances, real, known)
    pixels = np.asarray(picture)
    order, tops = {1: [2, 4, 0, 1], 2: [0, 1, 4, 3], 0: [3, 1, 0, 4]}, []
    for row, neighbours in order.items():
        [(top, left)] = places(pixels, fake.images[row], scale)
        for index in neighbours:
            [right] = [at for at in places(pixels, real.images[index], scale) if at[0] == top]
            assert right[1] > left
            left = right[1]
        tops.append(top)
    assert tops == sorted(tops)
    assert (pixels.max(axis=-1) < 60).any(axis=1).sum() > 3 * 5  # Ink of the captions.


def test_titles_say_of_what_the_pictures_are():
    """Ink above and left of the images; another kind of images has another title."""
    fake, real = images_of(2, 0, 16), images_of(4, 1, 16)
    values = np.eye(4)[:, :2]
    given = (GivenImages(fake), values[:2], np.zeros(2), real, values)
    drawn = [np.asarray(nearest_picture(*given, *kind)) for kind in ((), ("training",))]
    [(top, left)] = places(drawn[0], fake.images[0], 6)
    ink = drawn[0].max(axis=-1) < 60
    assert ink[:40].any() and ink[top - 20 : top].any() and ink[top : top + 96, : left - 5].any()
    assert drawn[0].shape == drawn[1].shape and (drawn[0][:40] != drawn[1][:40]).any()


def test_there_may_be_fewer_real_images_than_columns():
    fake, real = images_of(2, 0, 8), images_of(2, 1, 8)
    values = np.array([[0.0], [1.0]])
    picture = nearest_picture(GivenImages(fake), values, np.zeros(2), real, values)
    wide = nearest_picture(
        GivenImages(fake), values, np.zeros(2), images_of(4, 1, 8), np.eye(4)[:, :1]
    )
    assert picture.width < wide.width
