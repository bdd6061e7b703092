"""Rows of images: what is drawn, what is said of it, and the files that it becomes."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from cgt_tf.drawing.folder import write_folder
from cgt_tf.drawing.rows import between, class_row, draw, mixed_row, picture_of
from cgt_tf.drawing.sampler import GanSampler
from cgt_tf.errors import InputError
from cgt_tf.networks.gan import create_gan
from cgt_tf.networks.spec import GanSpec

SPEC = GanSpec(
    resolution=32,
    num_classes=3,
    dim_z=8,
    g_widths=(4, 4, 4, 4),
    d_widths=(4, 4, 4),
    d_halvings=2,
)


@dataclasses.dataclass
class Told:
    """Draws images whose first pixel is what they were asked for."""

    class_names: tuple = ("ape", "bee", "cat")
    new_classes: tuple = ("cat",)
    resolution: int = 4
    snapshot: None = None

    def sample(self, labels, seeds, truncation):
        return self._images(labels, seeds, truncation)

    def mix(self, weights, seeds, truncation):
        return self._images(weights @ np.array([100, 10, 1]), seeds, truncation)

    def _images(self, values, seeds, truncation):
        images = np.zeros((len(seeds), 4, 4, 3), np.uint8)
        images[:, 0, 0] = np.stack([values, seeds, 100 * truncation], axis=1).round()
        return images


def test_rows_of_classes_have_a_seed_or_a_truncation_for_each_image():
    sampler = Told()
    rows = [class_row(sampler, "bee", range(4, 7), 0.5), class_row(sampler, "cat", 9, (0.2, 1.0))]
    first, second = draw(sampler, rows)
    np.testing.assert_array_equal(first.images[:, 0, 0], [[1, 4, 50], [1, 5, 50], [1, 6, 50]])
    np.testing.assert_array_equal(second.images[:, 0, 0], [[2, 9, 20], [2, 9, 100]])
    assert first.facts[2] == {"class": "bee", "label": 1, "seed": 6, "truncation": 0.5}
    assert [fact["truncation"] for fact in second.facts] == [0.2, 1.0]
    assert (first.title, second.title) == ("bee", "cat")


def test_weights_of_mixtures_are_taken_as_they_are():
    sampler = Told()
    mixtures = [{"cat": 3.0, "ape": 1.0}, *between("ape", "bee", 3)]
    (strip,) = draw(sampler, [mixed_row(sampler, "x", mixtures, 7)])
    np.testing.assert_array_equal(strip.images[:, 0, 0, 0], [103, 100, 55, 10])
    assert strip.facts[0]["weights"] == {"cat": 3.0, "ape": 1.0} and strip.facts[0]["seed"] == 7
    with pytest.raises(InputError, match="got 'dog'"):
        mixed_row(sampler, "x", [{"dog": 1.0}], 0)


def test_one_class_alone_is_the_class_and_batches_change_nothing():
    gan = create_gan(SPEC, ["ape", "bee", "cat"])
    sampler = GanSampler(gan, gan.class_names)
    seeds = np.arange(70)
    labels = seeds % 3
    images = sampler.sample(labels, seeds, 0.7)
    mixed = sampler.mix(2 * np.eye(3)[labels] / 2, seeds, 0.7)
    assert np.abs(images.astype(int) - mixed).max() <= 1
    assert len({image.tobytes() for image in images}) == 70
    few = sampler.sample(labels[66:], seeds[66:], np.full(4, 0.7))
    assert np.abs(images[66:].astype(int) - few).max() <= 1


def test_a_folder_has_single_images_and_a_line_on_each(tmp_path):
    sampler = Told()
    rows = [class_row(sampler, name, range(2)) for name in ("cat", "bee")]
    strips = draw(sampler, rows)
    assert write_folder(strips, tmp_path / "new" / "images") == 4
    written = sorted(path.name for path in (tmp_path / "new" / "images").iterdir())
    assert written == [*(f"00{r}_00{c}.png" for r in (0, 1) for c in (0, 1)), "manifest.jsonl"]
    text = (tmp_path / "new" / "images" / "manifest.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        pixel = np.asarray(Image.open(tmp_path / "new" / "images" / line["file"]))[0, 0]
        assert tuple(pixel) == (line["label"], line["seed"], 100 * line["truncation"])
    assert lines[2] == {
        "file": "001_000.png",
        "row": "bee",
        "class": "bee",
        "label": 1,
        "seed": 0,
        "truncation": 1.0,
    }


def test_titles_of_a_picture_are_wider_than_names_of_classes():
    sampler = Told()
    short = picture_of(draw(sampler, [class_row(sampler, "cat", 0)]), 16)
    title = "0.7 a rather long name + 0.3 of another"
    long = picture_of(draw(sampler, [class_row(sampler, "cat", 0, title=title)]), 16)
    assert long.width > short.width + 200
