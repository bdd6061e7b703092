"""Sparse scores: the largest stay, the offsets stay, shares are those of the kept."""

import numpy as np
import pytest
from keras import ops

from cgt_tf.errors import InputError
from cgt_tf.layers.pseudo_class_batch_norm import PropagatedOffsets
from cgt_tf.methods.sparse_scores import keep_top_scores

PRIOR, SCORES, RESIDUAL = (6, 4), (6, 2), (2, 4)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def random_arrays():
    return [normal(*shape, seed=i) for i, shape in enumerate((PRIOR, SCORES, RESIDUAL))]


def random_part(**settings):
    part = PropagatedOffsets(4, num_classes=2, num_pseudo_classes=6, **settings)
    part.build()
    for i, variable in enumerate(part.trainable_variables):
        variable.assign(normal(*variable.shape, seed=i))
    return part


@pytest.mark.parametrize("settings", [{}, {"score_bias": True, "prior_bias": True}])
def test_offsets_stay_and_the_largest_scores_with_them(settings):
    part = random_part(**settings)
    before, scores = ops.convert_to_numpy(part.table()), ops.convert_to_numpy(part.scores.kernel)
    kept, residual, _ = keep_top_scores(part.prior.kernel, scores, part.residual, 2)
    assert kept.dtype == residual.dtype == np.float32
    part.scores.kernel.assign(kept)
    part.residual.assign(residual)
    np.testing.assert_allclose(part.table(), before, rtol=1e-5, atol=1e-5)
    for column, expected in zip(kept.T, scores.T, strict=True):
        largest = np.argsort(-np.abs(expected))[:2]
        np.testing.assert_array_equal(np.flatnonzero(column), np.sort(largest))
        np.testing.assert_array_equal(column[largest], expected[largest])


def test_shares_are_those_of_the_kept_scores():
    prior = np.eye(6, 4, dtype=np.float32)
    scores = np.float32([[3, 0], [4, 0], [0, 2], [0, 0], [0, 0], [0, 0]])
    kept, residual, share = keep_top_scores(prior, scores, [[0, 0, 0, 0], [0, 0, 0, 2]], 1)
    # 4 of (3, 4), and 2 of the two 2s.
    np.testing.assert_allclose(share, [16 / 25, 4 / 8])
    np.testing.assert_array_equal(residual, [[3, 0, 0, 0], [0, 0, 0, 2]])
    np.testing.assert_array_equal(kept, [[0, 0], [4, 0], [0, 2], [0, 0], [0, 0], [0, 0]])


def test_more_scores_than_there_are_change_nothing():
    prior, scores, residual = random_arrays()
    kept, rest, _ = keep_top_scores(prior, scores, residual, 99)
    np.testing.assert_array_equal(kept, scores)
    np.testing.assert_allclose(rest, residual, atol=1e-6)


def test_the_given_arrays_stay():
    arrays = random_arrays()
    keep_top_scores(*arrays, 1)
    for array, expected in zip(arrays, random_arrays(), strict=True):
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("count", [0, -1])
def test_a_count_below_one_is_refused(count):
    with pytest.raises(InputError, match=rf"^expected at least 1 score to keep, got {count}$"):
        keep_top_scores(*random_arrays(), count)
