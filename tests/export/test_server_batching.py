"""Requests that a server joins give what they give alone, whatever their neighbours are."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from export_networks import close
from server_batching import ALLOWED_SIZES, allowed_size, run_batched

from cgt_tf.errors import InputError
from cgt_tf.export.saved_model import export_saved_model
from cgt_tf.export.served import load_saved_model
from cgt_tf.latents import latents_from_seeds
from cgt_tf.networks.extended import extended_from
from cgt_tf.runs.handles import load_source

GRID_SOURCE = Path(__file__).parents[1] / "goldens" / "hub_v1_tiny"
# Rows of the requests that meet in one batch; each batch is padded to an allowed size.
MEETINGS = [(1,), (1, 1), (2, 1), (3, 1, 1), (1, 4, 3)]


def requests_for(name, sizes, served):
    rng = np.random.default_rng(len(sizes))
    for size in sizes:
        label = tf.constant(rng.integers(0, served.num_classes, size))
        weights = rng.uniform(size=(size, served.num_classes)).astype(np.float32)
        inputs = {
            "label": label,
            "seed": tf.constant(rng.integers(-5, 2**40, size)),
            "truncation": tf.constant(rng.choice([0.3, 0.5, 0.77, 1.0], size), tf.float32),
            "z": tf.constant(rng.normal(size=(size, served.dim_z)), tf.float32),
            "class_weights": tf.constant(weights),
        }
        names = served.signatures[name].structured_input_signature[1]
        yield {name: inputs[name] for name in names}


@pytest.fixture(scope="module")
def grid_served(tmp_path_factory):
    """An export of a source with batch-norm statistics for several truncations."""
    extended = extended_from(load_source(f"tfhub:{GRID_SOURCE}"))
    assert len(extended.spec.truncation_grid) > 2
    path = export_saved_model(extended, tmp_path_factory.mktemp("grid") / "tiny")
    return extended, load_saved_model(path)


SIGNATURES = ["serving_default", "truncated", "from_latent", "mix", "png", "labels"]
CASES = [*(("served", name) for name in SIGNATURES), ("grid", "truncated")]


@pytest.fixture
def any_served(request, fixture):
    if fixture == "grid":
        return request.getfixturevalue("grid_served")[1]
    return request.getfixturevalue("served")


@pytest.mark.parametrize(("fixture", "name"), CASES)
def test_no_request_sees_its_neighbours(any_served, name):
    """To the last bit, where a request alone is run at the size of the batch that it was in."""
    signature = any_served.signatures[name]
    for sizes in MEETINGS:
        requests = list(requests_for(name, sizes, any_served))
        together = run_batched(signature, requests)
        size = allowed_size(sum(sizes))
        for request, given in zip(requests, together, strict=True):
            (alone,) = run_batched(signature, [request], allowed_sizes=(size,))
            assert given.keys() == alone.keys()
            for output in given:
                np.testing.assert_array_equal(given[output], alone[output])


@pytest.mark.parametrize(("fixture", "name"), CASES)
def test_requests_joined_by_a_server_give_what_separate_calls_give(any_served, name):
    """Separate calls have sizes of their own, on which the rounding of convolutions depends."""
    signature = any_served.signatures[name]
    for sizes in MEETINGS:
        requests = list(requests_for(name, sizes, any_served))
        for request, given in zip(requests, run_batched(signature, requests), strict=True):
            for output, wanted in signature(**request).items():
                given_array, wanted = given[output].numpy(), wanted.numpy()
                assert given_array.shape == wanted.shape
                if name in ("from_latent", "mix"):
                    np.testing.assert_allclose(given_array, wanted, atol=1e-5)
                elif name == "labels":
                    assert given_array.tolist() == wanted.tolist()
                else:
                    close(decoded(given_array), decoded(wanted))


def decoded(images):
    if images.dtype == np.uint8:
        return images
    return np.stack([tf.io.decode_png(data).numpy() for data in images])


def test_the_emulation_refuses_what_the_server_refuses():
    def scalar_output(x):
        return {"y": tf.reduce_sum(x)}

    def doubled(x):
        return {"y": tf.concat([x, x], axis=0)}

    rows, scalar = {"x": tf.zeros(2)}, {"x": tf.zeros([])}
    for function, request, message in (
        (doubled, {}, "at least one input tensor"),
        (doubled, scalar, "at least one dimension"),
        (doubled, {"x": tf.zeros(2), "y": tf.zeros(1)}, "equal 0th-dimension"),
        (scalar_output, rows, "0 dimensions"),
        (doubled, rows, "0th dimension does not equal"),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match=message):
            run_batched(function, [request])
    assert [allowed_size(rows) for rows in (1, 2, 3, 5, 8)] == [1, 2, 4, 8, 8]
    assert ALLOWED_SIZES[-1] == 8
    seen = []

    def recorded(x):
        seen.append(x.numpy().tolist())
        return {"y": x}

    first, last = run_batched(recorded, [{"x": tf.constant([1.0, 2])}, {"x": tf.constant([3.0])}])
    assert seen == [[1, 2, 3, 3]]
    assert (first["y"].numpy().tolist(), last["y"].numpy().tolist()) == ([1, 2], [3])


def test_each_row_has_the_statistics_and_latents_of_its_own_truncation(grid_served):
    extended, served = grid_served
    # On the grid, between its levels, and the untruncated end.
    limits = np.array([0.1, 1.0, 0.53, 0.1, 0.98, 0.4], np.float32)
    labels, seeds = np.array([0, 3, 5, 0, 11, 2]), np.array([4, 4, 5, 9, 4, 4])
    rows = {"label": tf.constant(labels), "seed": tf.constant(seeds)}
    images = served.signatures["truncated"](**rows, truncation=tf.constant(limits))["image"]
    latents_of_rows = latents_from_seeds(seeds, served.dim_z, limits)
    by_row = extended(latents_of_rows, labels, limits).numpy()
    for row, limit in enumerate(limits):
        one = slice(row, row + 1)
        close(images.numpy()[one], served.sample(labels[one], seeds[one], float(limit)))
        z = latents_from_seeds(seeds[one], served.dim_z, float(limit))
        np.testing.assert_array_equal(z, latents_of_rows[one])
        np.testing.assert_allclose(by_row[one], extended(z, labels[one], limit), atol=1e-5)
    same = extended(latents_of_rows, labels, np.full(6, 0.4, np.float32))
    np.testing.assert_allclose(same, extended(latents_of_rows, labels, 0.4), atol=1e-5)
    # The statistics matter: with those of another truncation the images are others.
    assert np.abs(by_row - extended(latents_of_rows, labels, 1.0).numpy())[[0, 2]].max() > 1e-2


def test_mixtures_of_other_truncations_are_refused_where_statistics_lack(grid_served, served):
    weights, seeds = np.eye(grid_served[1].num_classes, dtype=np.float32)[:2], np.arange(2)
    assert grid_served[1].mix(weights, seeds).shape[0] == 2
    with pytest.raises(InputError, match=r"a truncation of 1 to mix classes .* got 0\.5; the run"):
        grid_served[1].mix(weights, seeds, 0.5)
    weights = np.eye(served.num_classes, dtype=np.float32)[:2]
    close(served.mix(weights, seeds, 0.5), served.sample(np.arange(2), seeds, 0.5))
