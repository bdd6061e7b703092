"""Learning rates at which groups of variables move the offsets equally fast."""

import numpy as np
import pytest

from cgt_tf.methods.equal_updates import Response, equal_scales, response, shared_scales


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def test_free_offsets_are_the_unit():
    assert response([np.eye(7)]) == Response(1.0, 1.0)
    assert response([np.eye(3), np.eye(5)], [2, 4]) == Response(1.0, 1.0)


def test_rows_that_spread_evenly():
    """N rho / sqrt(C) with N >= C rows, sqrt(N) rho with fewer rows than dimensions."""
    rho = 0.3
    many = np.tile(rho * np.sqrt(4) * np.eye(4), (5, 1))
    assert response([many]).gain == pytest.approx(20 * np.sqrt(np.mean(many**2)) / np.sqrt(4))
    assert response([many]).alignment == pytest.approx(1)
    few = np.eye(3, 12) * rho * np.sqrt(12)
    assert response([few]).gain == pytest.approx(np.sqrt(3) * np.sqrt(np.mean(few**2)))


def test_the_rows_of_principal_components():
    left, values, right = np.linalg.svd(normal(6, 9), full_matrices=False)
    deviations = left * values @ right
    rows = values[:, None] * right / np.sqrt(6)
    rho = np.sqrt(np.mean(deviations**2))
    assert response([rows]).gain == pytest.approx(rho)
    split = np.split(rows, [2, 5], axis=1)
    # In blocks the rows are not orthogonal, but those of each block alone are.
    apart = [
        np.linalg.svd(block)[1][:, None] * np.linalg.svd(block)[2][: min(block.shape)]
        for block in split
    ]
    assert response(apart).gain == pytest.approx(rho)


def test_blocks_that_are_there_several_times():
    a, b = normal(3, 4), 5 * normal(6, 2, seed=1)
    np.testing.assert_allclose(response([a, b], [2, 3]), response([a, a, b, b, b]))
    assert response([a, b], [1, 9]).gain > 1.2 * response([a, b]).gain


def test_rows_that_move_nothing():
    assert response([np.zeros((3, 4))]) == Response(0.0, 0.0)
    rows = normal(3, 4)
    padded = np.concatenate([rows, np.zeros((2, 4))])
    np.testing.assert_allclose(response([padded]), response([rows]))
    found = {"a": response([rows]), "none": Response(0.0, 0.0)}
    assert equal_scales(found)["none"] == 1
    assert equal_scales(found)["a"] == pytest.approx(1 / found["a"].gain)


def adam_changes(gradients, rate=1.0, beta=0.99):
    """Adam's steps, without a mean gradient, for gradients [t, ...]; the last half of them."""
    mean_square, steps = 0.0, []
    for t, gradient in enumerate(gradients, start=1):
        mean_square = beta * mean_square + (1 - beta) * gradient**2
        steps.append(-rate * gradient / np.sqrt(mean_square / (1 - beta**t)))
    return np.array(steps[len(steps) // 2 :])


def rms(x):
    return np.sqrt(np.mean(np.square(x)))


@pytest.mark.parametrize("shape", [(40, 6), (6, 40), (12, 12)])
def test_adam_moves_the_offsets_as_fast_as_said(shape):
    """Scores, pseudo-classes and residuals of o = S' P + R, each alone and together."""
    count, channels, classes = *shape, 5
    prior, scores = normal(*shape, seed=1), 0.2 + 0.1 * normal(count, classes, seed=2)
    gradients = normal(600, classes, channels, seed=3)
    groups = {
        "scores": response([prior]),
        "prior": response([scores], [channels]),
        "residual": response([np.eye(1)]),
    }
    score_steps = adam_changes(np.einsum("nc,tmc->tnm", prior, gradients))
    prior_steps = adam_changes(np.einsum("nm,tmc->tnc", scores, gradients))
    changes = {
        "scores": np.einsum("tnm,nc->tmc", score_steps, prior),
        "prior": np.einsum("nm,tnc->tmc", scores, prior_steps),
        "residual": adam_changes(gradients),
    }
    for name, scale in equal_scales(groups).items():
        assert rms(scale * changes[name]) == pytest.approx(1, rel=0.1), name
    scales = shared_scales(groups)
    assert rms(sum(scales[name] * changes[name] for name in groups)) == pytest.approx(1, rel=0.1)
