"""The signatures as a server sees them: types, seeds, mixtures, and what they refuse."""

import io

import numpy as np
import pytest
import tensorflow as tf
from export_networks import close, latents
from PIL import Image

from cgt_tf.latents import latents_from_seeds


def test_signatures_have_the_served_names_types_and_shapes(served):
    label, seed = ("label", [None], "int64"), ("seed", [None], "int64")
    truncation = ("truncation", [None], "float32")
    z, weights = ("z", [None, 16], "float32"), ("class_weights", [None, 5], "float32")
    image = ("image", [None, 32, 32, 3], "float32")
    expected = {
        "serving_default": ([label, seed], ("image", [None, 32, 32, 3], "uint8")),
        "truncated": ([label, seed, truncation], ("image", [None, 32, 32, 3], "uint8")),
        "from_latent": ([label, z], image),
        "mix": ([weights, z], image),
        "png": ([label, seed, truncation], ("image_bytes", [None], "string")),
        "labels": ([label], ("name", [None], "string")),
    }
    assert set(served.signatures) == set(expected)
    for name, (inputs, output) in expected.items():
        function = served.signatures[name]
        given = function.structured_input_signature[1]
        assert {k: described(v) for k, v in given.items()} == {n: (s, d) for n, s, d in inputs}
        outputs = {k: described(v) for k, v in function.structured_outputs.items()}
        assert outputs == {output[0]: output[1:]}


def described(spec):
    return spec.shape.as_list(), spec.dtype.name


def test_mixtures_run_across_old_and_new_classes(served, projected):
    weights = np.array([[0.5, 0, 0, 0.5, 0], [0, 1, 0, 0, 0]], np.float32)
    z = latents(2, 16)
    images = served.signatures["mix"](class_weights=weights, z=z)["image"]
    np.testing.assert_allclose(images, projected[2](z, weights), atol=1e-5)
    np.testing.assert_allclose(
        images[1:], projected[0].generator(z[1:], np.array([1]))[0], atol=1e-5
    )


@pytest.mark.parametrize("truncation", [1.0, 0.5])
def test_seeds_stand_for_latents_whatever_the_batch(served, projected, truncation):
    labels, seeds = np.array([4, 0, 2, 4, 1]), np.array([7, -1, 2**40, 7, 0])
    images = served.sample(labels, seeds, truncation)
    assert images.shape == (5, 32, 32, 3) and images.dtype == np.uint8
    z = latents_from_seeds(seeds, 16, truncation)
    wanted = np.rint((np.asarray(projected[2](z, labels)) + 1) * 127.5)
    close(images, wanted)
    alone = [served.sample(labels[i : i + 1], seeds[i : i + 1], truncation)[0] for i in range(5)]
    close(images, np.stack(alone))
    np.testing.assert_array_equal(served.sample(labels, seeds, truncation), images)
    assert (images[0] != images[1]).any()


def test_latents_do_not_depend_on_their_neighbours():
    seeds = np.arange(-20, 20)
    for truncation in (1.0, 0.6):
        z = latents_from_seeds(seeds, 24, truncation).numpy()
        np.testing.assert_array_equal(latents_from_seeds(seeds[7:9], 24, truncation), z[7:9])
        assert len(np.unique(z)) > 0.99 * z.size


def test_latents_are_those_of_one_call_a_seed():
    seeds = np.r_[np.arange(-40, 40), 2**62, -(2**63), 2**33 + 5]
    limits = np.where(np.arange(len(seeds)) % 2 == 0, 1, 0.5).astype(np.float32)
    for width in (7, 16):
        full = np.stack([_one_call(tf.random.stateless_normal, s, width) for s in seeds])
        cut = np.stack([_one_call(tf.random.stateless_truncated_normal, s, width) for s in seeds])
        wanted = np.where(limits[:, None] < 1, np.float32(0.5) * cut, full)
        for truncation, rows in ((None, full), (1.0, full), (0.5, 0.5 * cut), (limits, wanted)):
            given = latents_from_seeds(seeds, width, truncation).numpy()
            assert given.tobytes() == rows.astype(np.float32).tobytes()


def _one_call(distribution, seed, width):
    return distribution([width], seed=[seed, 0], alg="philox").numpy()


def test_truncation_cuts_and_scales_latents():
    seeds = np.arange(3000)
    full = latents_from_seeds(seeds, 16).numpy()
    assert abs(full.mean()) < 0.02 and full.std() == pytest.approx(1, abs=0.01)
    assert np.abs(full).max() > 3.5
    cut = latents_from_seeds(seeds, 16, 0.5).numpy()
    assert 0.99 < np.abs(cut).max() <= 1
    # The standard deviation of a normal cut to [-2, 2] is 0.8796.
    assert cut.std() == pytest.approx(0.5 * 0.8796, abs=0.01)


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_png_holds_the_same_images(served, rows):
    numbers = tf.range(rows, dtype=tf.int64)
    arguments = {"label": numbers % 5, "seed": numbers}
    images = served.signatures["serving_default"](**arguments)["image"].numpy()
    encoded = served.signatures["png"](**arguments, truncation=tf.ones(rows))["image_bytes"].numpy()
    decoded = np.stack([np.asarray(Image.open(io.BytesIO(data))) for data in encoded])
    close(decoded, images)


SEEDED = {"label": [0, 4], "seed": [1, 2]}
CUT = SEEDED | {"truncation": [1.0, 0.5]}
LATENT = {"label": [0, 4], "z": np.zeros((2, 16))}
MIXED = {"class_weights": np.full((2, 5), 0.2), "z": np.zeros((2, 16))}


@pytest.mark.parametrize(
    ("signature", "arguments", "message"),
    [
        ("serving_default", SEEDED | {"label": [0, 5]}, r"label: expected integers in \[0, 4\]"),
        ("png", CUT | {"label": [-1, 0]}, r"label: expected integers in \[0, 4\]"),
        ("labels", {"label": [0, 5]}, r"label: expected integers in \[0, 4\]"),
        ("from_latent", LATENT | {"label": [0, 5]}, r"label: expected integers in \[0, 4\]"),
        ("truncated", CUT | {"truncation": [0.0, 1]}, r"truncation: .* \(0, 1\], got\] \[0 1\]"),
        ("truncated", CUT | {"truncation": [1, 1.5]}, r"truncation: expected .* \(0, 1\]"),
        ("truncated", CUT | {"truncation": [0.5]}, "as many rows of label as of truncation"),
        ("png", CUT | {"truncation": [1, float("nan")]}, r"truncation: expected .* \(0, 1\]"),
        ("serving_default", SEEDED | {"seed": [1]}, "as many rows of label as of seed"),
        ("serving_default", SEEDED | {"label": [], "seed": []}, "at least 1"),
        ("from_latent", LATENT | {"z": np.zeros((1, 16))}, "as many rows of label as of z"),
        ("from_latent", LATENT | {"z": np.zeros((2, 15))}, "z: expected rows of 16 numbers"),
        ("from_latent", LATENT | {"z": np.full((2, 16), np.nan)}, "make finite images"),
        ("mix", MIXED | {"class_weights": np.ones((2, 3))}, "class_weights: .* rows of 5 numbers"),
        ("mix", MIXED | {"class_weights": np.ones((1, 5))}, "as many rows of class_weights"),
    ],
)
def test_signatures_refuse_bad_input(served, signature, arguments, message):
    dtypes = {"label": tf.int64, "seed": tf.int64}
    tensors = {k: tf.constant(v, dtypes.get(k, tf.float32)) for k, v in arguments.items()}
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        served.signatures[signature](**tensors)
