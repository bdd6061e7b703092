"""Standing statistics: averages of batch statistics, and nothing else touched."""

import dataclasses
import functools

import numpy as np
import pytest
from keras import ops

from cgt_tf.errors import InputError
from cgt_tf.formats.imported import Imported
from cgt_tf.formats.standing import with_standing_statistics
from cgt_tf.networks.extended import fold_together
from cgt_tf.networks.gan import create_generator
from cgt_tf.networks.spec import biggan_spec
from cgt_tf.networks.standing import (
    assign_statistics,
    draw_batches,
    estimate_statistics,
    standing_statistics,
)

SPEC = biggan_spec(32, 3, 4, dim_z=16, g_widths=(8, 8, 4, 4), shared_dim=4, hierarchical=True)


@functools.cache
def generator(grid=()):
    return create_generator(dataclasses.replace(SPEC, truncation_grid=grid))


def values(network):
    return [ops.convert_to_numpy(v) for v in network.variables]


def first_norm_inputs(network, batches):
    """What the first norm sees: the reshaped linear layer, with its power vector left alone."""
    return [network(z, y)[1]["linear"] for z, y in batches]


def test_the_first_norm_averages_the_batches_moments():
    network = generator()
    batches = list(draw_batches(SPEC, 3, 8, 1.0, seed=0))
    before = values(network)
    mean, variance, *_ = estimate_statistics(network, batches)
    inputs = [np.asarray(x, np.float64) for x in first_norm_inputs(network, batches)]
    expected = np.mean([x.mean((0, 1, 2)) for x in inputs], axis=0)
    # The power vector moves a little in each pass, and sigma with it.
    np.testing.assert_allclose(mean, expected, rtol=0.1, atol=1e-2)
    expected = np.mean([x.reshape(-1, 8).var(0, ddof=1) for x in inputs], axis=0)
    np.testing.assert_allclose(variance, expected, rtol=0.5)
    for old, new in zip(before, values(network), strict=True):
        np.testing.assert_array_equal(old, new)
    assert network.blocks[0].norm1.momentum == 0.9


def test_one_batch_gives_the_images_of_training_mode():
    network = generator()
    (z, y), *_ = batches = list(draw_batches(SPEC, 1, 8, 1.0, seed=1))
    with standing_statistics(network, batches):
        standing = ops.convert_to_numpy(network(z, y)[0])
    outside = ops.convert_to_numpy(network(z, y)[0])
    before = [(v, ops.convert_to_numpy(v)) for v in network.non_trainable_variables]
    training = ops.convert_to_numpy(network(z, y, training=True)[0])
    for variable, value in before:
        variable.assign(value)
    # Training mode divides by the biased variance, n / (n - 1) apart for n = 128 pixels at least,
    # and has moved its power vectors once.
    gap = np.abs(standing - training).mean()
    assert gap < 0.01
    assert np.abs(outside - training).mean() > 10 * gap


def test_all_rows_of_a_generator_with_truncations_are_set():
    network = generator((0.5, 1.0))
    estimated = estimate_statistics(network, draw_batches(network.spec, 2, 4, 0.5, seed=0))
    assign_statistics(network, estimated)
    for row in ops.convert_to_numpy(network.blocks[0].norm1.moving_mean):
        np.testing.assert_array_equal(row, estimated[0])
    np.testing.assert_array_equal(network.output_norm.moving_variance[1], estimated[-1])


def test_truncated_latents_are_cut_then_scaled():
    ((z, labels),) = draw_batches(SPEC, 1, 500, 0.5, seed=0)
    assert z.shape == (500, 16) and z.dtype == np.float32
    assert 0.95 < np.abs(z).max() <= 1.0
    assert set(labels) == {0, 1, 2}
    ((plain, _),) = draw_batches(SPEC, 1, 500, 1.0, seed=0)
    assert np.abs(plain).max() > 3


@functools.cache
def two_domains():
    """The classes of two networks, and the second's alone, both folded."""
    first, second = create_generator(SPEC), generator()
    return (
        fold_together([first, second], [list("abc"), list("xyz")]).generator,
        fold_together([second], [list("xyz")]).generator,
    )


def test_a_domain_is_estimated_as_if_it_were_alone():
    both, alone = two_domains()
    batches = list(draw_batches(SPEC, 2, 8, 1.0, seed=2))
    before = values(both)
    estimated = estimate_statistics(both, [(z, y + 3) for z, y in batches])
    for expected, found in zip(estimate_statistics(alone, batches), estimated, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    for old, new in zip(before, values(both), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(("domain", "own", "other"), [(-1, 1, 0), (0, 0, 1)])
def test_one_domain_of_several_is_set(domain, own, other):
    both, _ = two_domains()
    norm, labels = both.output_norm, np.array([0, 1, 2])
    before, rows = values(both), ops.convert_to_numpy(norm.moving_mean)
    (z, _), *_ = batches = [(z, y + 3 * own) for z, y in draw_batches(SPEC, 1, 3, 1.0, seed=3)]
    images = [ops.convert_to_numpy(both(z, labels + 3 * i)[0]) for i in (own, other)]
    estimated = estimate_statistics(both, batches)
    with standing_statistics(both, batches, domain=domain):
        np.testing.assert_array_equal(norm.moving_mean[own], estimated[-2])
        np.testing.assert_array_equal(norm.moving_mean[other], rows[other])
        assert np.abs(both(z, labels + 3 * own)[0] - images[0]).max() > 1e-3
        np.testing.assert_array_equal(both(z, labels + 3 * other)[0], images[1])
    for old, new in zip(before, values(both), strict=True):
        np.testing.assert_array_equal(old, new)


def test_bad_input():
    with pytest.raises(InputError, match="at least one batch"):
        estimate_statistics(generator(), [])
    both, _ = two_domains()
    with pytest.raises(InputError, match="sources of one domain"):
        with_standing_statistics(Imported(both.spec, both), 1, 4, 1.0)
