"""Pictures: every image in its place, names readable and never across the images."""

import numpy as np
import pytest
from PIL import Image

from cgt_tf.errors import InputError
from cgt_tf.pictures import captioned_grid, framed, labelled_grid, tile

WHITE = 255


def flat_images(count, side=32):
    """Images of one colour each, the first channel being the image's number."""
    images = np.full((count, side, side, 3), 100, np.uint8)
    images[..., 0] = np.arange(count, dtype=np.uint8)[:, None, None]
    return images


def positions(picture, number, side):
    """Top and left of the block of the image of that number, whose size is checked."""
    array = np.asarray(picture)
    rows, columns = np.nonzero((array == (number, 100, 100)).all(axis=-1))
    assert len(rows) == side * side == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
    return rows.min(), columns.min()


@pytest.mark.parametrize("scale", [1, 3])
def test_images_are_laid_out_row_by_row_and_enlarged(scale):
    picture = labelled_grid(flat_images(6), ["A", "Ж"], 3, scale)
    places = np.array([positions(picture, i, 32 * scale) for i in range(6)]).reshape(2, 3, 2)
    assert (np.diff(places[..., 0], axis=0) > 32 * scale - 1).all()
    assert (np.diff(places[..., 1], axis=1) > 32 * scale - 1).all()
    assert (places[:, :, 0] == places[:, :1, 0]).all()
    assert (places[:, :, 1] == places[:1, :, 1]).all()


def test_pixels_are_repeated_not_blurred():
    images = np.random.default_rng(0).integers(0, 255, (1, 8, 8, 3), np.uint8)
    picture = np.asarray(labelled_grid(images, ["noise"], 1, scale=4))
    left = picture.shape[1] - 2 - 32
    wanted = images[0].repeat(4, axis=0).repeat(4, axis=1)
    np.testing.assert_array_equal(picture[2:34, left : left + 32], wanted)


def text_part(label, others=()):
    picture = labelled_grid(flat_images(1 + len(others)), [label, *others], 1)
    _, left = positions(picture, 0, 64)
    return np.asarray(picture)[:66, :left]


@pytest.mark.parametrize("label", ["A", "Ω", "Ж", "Ł", "€", "golden retriever"])
def test_names_are_drawn_left_of_the_images(label):
    text = text_part(label)
    assert (text < 100).any()
    assert (text[:, :4] == WHITE).all() and (text[:, -4:] == WHITE).all()
    missing = text_part("\U0010ffff" * len(label))
    assert text.shape != missing.shape or (text != missing).any()


def test_long_names_end_in_an_ellipsis():
    long = text_part("Ζ" * 300)
    assert long.shape[1] < 180
    # Cut names with the same beginning look the same; a short one is not cut.
    np.testing.assert_array_equal(long, text_part("Ζ" * 200))
    same_width = text_part("Ζ" * 5, others=["Ζ" * 300])
    assert (long[:66] != same_width[:66]).any()
    dots = text_part("Ζ" * 13)
    assert dots.shape[1] < long.shape[1]


def lines_of(text):
    """How many lines are written: groups of pixel rows with ink.."""
    ink = (text < 100).any(axis=(1, 2)).astype(int)
    return (np.diff(ink, prepend=0) == 1).sum()


def test_long_names_have_as_many_lines_as_their_row_is_high():
    assert [lines_of(text_part("wandern " * words)) for words in (1, 3, 5)] == [1, 2, 3]
    long = text_part("wandern " * 30)
    assert lines_of(long) == 3 and long.shape[1] < 180
    # All of it is in the middle of the row, and an ellipsis stands for the rest.
    rows = np.nonzero((long < 100).any(axis=(1, 2)))[0]
    assert rows.min() > 4 and abs(rows.min() + rows.max() - 66) < 12
    assert long.shape[1] > text_part("wandern " * 6).shape[1]
    small = labelled_grid(flat_images(1), ["wandern " * 30], 1, scale=1)
    _, left = positions(small, 0, 32)
    assert lines_of(np.asarray(small)[:, :left]) == 1


def test_line_breaks_in_names_become_blanks():
    np.testing.assert_array_equal(text_part("two\n lines"), text_part("two lines"))


@pytest.mark.parametrize(
    ("images", "labels", "columns", "scale", "message"),
    [
        (flat_images(5), ["a", "b"], 3, 2, "2 rows of 3 images, got 5"),
        (flat_images(2).astype(np.float32), ["a"], 2, 2, "uint8 .*, got float32"),
        (flat_images(2)[..., 0], ["a"], 2, 2, r"got uint8 \[2, 32, 32\]"),
        (flat_images(0), [], 2, 2, "rows of at least 1"),
        (flat_images(2), ["a"], 0, 2, "columns of at least 1"),
        (flat_images(2), ["a"], 2, 0, "a scale of at least 1"),
    ],
)
def test_bad_input_is_refused(images, labels, columns, scale, message):
    with pytest.raises(InputError, match=message):
        labelled_grid(images, labels, columns, scale)


def test_tiles_are_row_by_row_without_gaps():
    picture = tile(flat_images(6, side=2), 3)
    assert picture.shape == (4, 6, 3)
    np.testing.assert_array_equal(picture[::2, ::2, 0], [[0, 1, 2], [3, 4, 5]])


def test_captions_are_below_their_images_and_the_first_are_framed():
    picture = captioned_grid(flat_images(5, side=30), ["0.5", "Ж", "", "w" * 99, "z"], 3, marked=1)
    array = np.asarray(picture)
    places = [positions(picture, i, 30) for i in range(5)]
    assert places[0][0] == places[2][0] < places[3][0] == places[4][0]
    below = [array[top + 32 : top + 44, left : left + 30] for top, left in places]
    assert [bool((part < 200).all(axis=-1).any()) for part in below] == [
        False,
        True,
        False,
        *[True] * 2,
    ]
    red = (array == (210, 30, 30)).all(axis=-1)
    top, left = places[0]
    assert (
        red[top - 2 : top, left : left + 30].all() and red[top + 32 :][:12, left : left + 30].any()
    )
    assert not red[:, places[1][1] - 2 :].any() and not red[places[3][0] - 2 :].any()


def test_captions_are_cut_at_the_edge_of_their_image():
    picture = np.asarray(captioned_grid(flat_images(2, side=30), ["w" * 99, ""], 2))
    _, left = positions(picture, 1, 30)
    assert (picture[:, left - 8 : left] == WHITE).all()


@pytest.mark.parametrize(
    ("captions", "columns", "message"),
    [(["a"], 2, "caption for each of 2 images, got 1"), (["a", "b"], 0, "columns of at least 1")],
)
def test_captions_that_do_not_fit_are_refused(captions, columns, message):
    with pytest.raises(InputError, match=message):
        captioned_grid(flat_images(2), captions, columns)


def test_a_caption_may_have_lines():
    one = np.asarray(captioned_grid(flat_images(2, side=30), ["a", "b"], 2))
    two = np.asarray(captioned_grid(flat_images(2, side=30), ["a\nw", "b"], 2))
    assert two.shape == (one.shape[0] + 14, *one.shape[1:])
    second = two[-16:]
    assert (second[:, :34] < 200).any() and not (second[:, 34:] < 200).any()


def test_a_frame_names_rows_and_columns_and_leaves_the_picture_whole():
    inner = captioned_grid(flat_images(4, side=60), [""] * 4, 2)
    picture = np.asarray(framed(inner, "short", ["Ж", "aquarium fish"], ["first", "second"]))
    top, left = positions(Image.fromarray(picture), 0, 60)
    inner_top, inner_left = positions(inner, 0, 60)
    top, left = top - inner_top, left - inner_left
    np.testing.assert_array_equal(picture[top:, left:], np.asarray(inner))
    ink = (picture < 120).all(axis=-1)
    half = inner.width // 2
    for part in (
        ink[6:22, :60],
        ink[top - 16 : top, left : left + half],
        ink[top - 16 : top, -half:],
    ):
        assert part.any()
    middle = top + inner.height // 2
    assert ink[top:middle, :left].any() and ink[middle:, :left].any()
    assert not ink[top:, left - 5 : left].any()
    long = framed(inner, "many words " * 12, ["Ж", "aquarium fish"], ["first", "second"])
    assert long.width == picture.shape[1] and long.height > picture.shape[0] + 3 * 18
