"""Samples by label and seed, and the picture that cgt-sample draws of them."""

import dataclasses

import numpy as np
import pytest

from cgt_tf.data.pipeline import to_uint8
from cgt_tf.drawing.rows import sample_grid
from cgt_tf.drawing.sampler import GanSampler
from cgt_tf.errors import InputError
from cgt_tf.export.sampler import open_sampler
from cgt_tf.formats.native import save_model
from cgt_tf.latents import latents_from_seeds
from cgt_tf.networks.extended import extended_from
from cgt_tf.networks.gan import create_gan
from cgt_tf.networks.spec import GanSpec

FIELDS = {"resolution": 32, "num_classes": 2, "dim_z": 8, "g_widths": (4, 4, 4, 4)}
SPEC = GanSpec(**FIELDS, d_widths=(4, 4, 4), d_halvings=2)


@dataclasses.dataclass
class Numbered:
    """Draws images that are 100 times their label plus their seed."""

    class_names: tuple = ("ape", "bee", "cat")
    new_classes: tuple = ("cat",)
    resolution: int = 4

    def sample(self, labels, seeds, truncation):
        assert labels.dtype == seeds.dtype == np.int64 and (truncation == 0.5).all()
        values = (100 * labels + seeds).astype(np.uint8)
        return np.broadcast_to(values[:, None, None, None], (len(values), 4, 4, 3))


def test_a_row_is_a_class_and_a_column_a_seed():
    picture = np.asarray(sample_grid(Numbered(), ["cat", "ape"], range(5, 8), 0.5, 1))
    gray = (picture == picture[..., :1]).all(axis=-1)
    cells = picture[2:-2, -18:, 0][gray[2:-2, -18:]].reshape(-1, 18)
    np.testing.assert_array_equal(cells[1, [1, 7, 13]], [205, 206, 207])
    np.testing.assert_array_equal(cells[-1, [1, 7, 13]], [5, 6, 7])


@pytest.mark.parametrize(
    ("names", "scale", "message"),
    [
        (["cat", "dog"], 1, r"classes of the model's 3 \(ape, bee, cat\), got 'dog'"),
        (["cat"], 10_000, "at most 268,435,456 pixels, got 1,600,000,000: 1 rows, 1 columns"),
    ],
)
def test_what_cannot_be_drawn_is_said(names, scale, message):
    with pytest.raises(InputError, match=message):
        sample_grid(Numbered(), names, [0], 0.5, scale)


def test_a_gan_in_memory_draws_what_its_folded_generator_makes(tmp_path):
    gan = create_gan(SPEC, ["ape", "bee"])
    sampler = GanSampler(gan, gan.class_names)
    labels, seeds = np.array([0, 1, 1]), np.array([3, 3, 4])
    images = sampler.sample(labels, seeds, 0.5)
    z = latents_from_seeds(seeds, SPEC.dim_z, 0.5)
    expected = to_uint8(extended_from(gan)(z, labels, 0.5)).numpy()
    np.testing.assert_array_equal(images, expected)
    opened = open_sampler(f"model:{save_model(gan, tmp_path / 'model', {})}", "best")
    assert (opened.class_names, opened.new_classes, opened.resolution) == (
        *(["ape", "bee"], ["ape", "bee"]),
        32,
    )
    np.testing.assert_array_equal(opened.sample(labels, seeds, 0.5), images)


def test_a_place_without_a_model_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected a run, a SavedModel or a source"):
        open_sampler(str(tmp_path), "best")
