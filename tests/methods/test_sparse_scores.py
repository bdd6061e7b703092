"""Sparse scores: the largest stay, the offsets stay, shares are those of the kept."""

import numpy as np
import pytest
from keras import ops

from cgt_tf.errors import InputError
from cgt_tf.layers.pseudo_class_batch_norm import PropagatedOffsets
from cgt_tf.methods.sparse_scores import keep_top_scores


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


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
    keep_top_scores(part, 2)
    np.testing.assert_allclose(part.table(), before, rtol=1e-5, atol=1e-5)
    kept = ops.convert_to_numpy(part.scores.kernel)
    for column, expected in zip(kept.T, scores.T, strict=True):
        largest = np.argsort(-np.abs(expected))[:2]
        np.testing.assert_array_equal(np.flatnonzero(column), np.sort(largest))
        np.testing.assert_array_equal(column[largest], expected[largest])


def test_shares_are_those_of_the_kept_scores():
    part = random_part()
    prior = np.eye(6, 4, dtype=np.float32)
    part.prior.kernel.assign(prior)
    part.scores.kernel.assign(np.float32([[3, 0], [4, 0], [0, 2], [0, 0], [0, 0], [0, 0]]))
    part.residual.assign(np.float32([[0, 0, 0, 0], [0, 0, 0, 2]]))
    # 4 of (3, 4), and 2 of the two 2s.
    np.testing.assert_allclose(keep_top_scores(part, 1), [16 / 25, 4 / 8])
    np.testing.assert_array_equal(part.residual, [[3, 0, 0, 0], [0, 0, 0, 2]])


def test_more_scores_than_there_are_change_nothing():
    part = random_part()
    before = [ops.convert_to_numpy(v) for v in part.trainable_variables]
    keep_top_scores(part, 99)
    for variable, value in zip(part.trainable_variables, before, strict=True):
        np.testing.assert_allclose(variable, value, atol=1e-6, err_msg=variable.path)


@pytest.mark.parametrize(
    ("settings", "count"),
    [({}, 0), ({"residual": False}, 1), ({"spectral_norm": True}, 1)],
)
def test_what_is_refused(settings, count):
    with pytest.raises(InputError, match=r"^expected [^\n]*$"):
        keep_top_scores(random_part(**settings), count)
