"""Adam in one operation against PyTorch's formula, and against Keras' own where they agree."""

import keras
import numpy as np
import pytest

from cgt_tf.training.fused_adam import FusedAdam
from cgt_tf.training.schedules import LinearRampUp

SHAPES = [(3, 2), (5,), ()]
STEPS = 5
RATE = 1e-2


def updated(kind, rate, size, **settings):
    """Variables [after a step][variable], and the optimizer's state after the last of them.

    Args:
        kind: class of optimizer.
        rate: learning rate or schedule.
        size: typical size of the gradients.
        settings: of the optimizer.
    """
    rng = np.random.default_rng(0)
    variables = [
        keras.Variable(np.zeros(shape), dtype="float32", name=f"v{i}")
        for i, shape in enumerate(SHAPES)
    ]
    optimizer = kind(rate, **settings)
    optimizer.build(variables)
    history = []
    for _ in range(STEPS):
        gradients = [size * rng.normal(size=shape).astype(np.float32) for shape in SHAPES]
        optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients], variables)
        history.append([keras.ops.convert_to_numpy(v) for v in variables])
    return history, optimizer.variables


def expected(size, *, beta_1, beta_2, epsilon):
    """The same variables by torch.optim.Adam's formula, in float64."""
    rng = np.random.default_rng(0)
    values, m, v = ([np.zeros(shape) for shape in SHAPES] for _ in range(3))
    history = []
    for step in range(1, STEPS + 1):
        for i, shape in enumerate(SHAPES):
            gradient = np.float64(size * rng.normal(size=shape).astype(np.float32))
            m[i] = beta_1 * m[i] + (1 - beta_1) * gradient
            v[i] = beta_2 * v[i] + (1 - beta_2) * gradient**2
            denominator = np.sqrt(v[i]) / np.sqrt(1 - beta_2**step) + epsilon
            values[i] = values[i] - RATE / (1 - beta_1**step) * m[i] / denominator
        history.append([np.float64(x) for x in values])
    return history


@pytest.mark.parametrize("size", [1e-8, 1e-6, 1.0])
@pytest.mark.parametrize(
    "settings",
    [
        {"beta_1": 0.0, "beta_2": 0.999, "epsilon": 1e-6},
        {"beta_1": 0.5, "beta_2": 0.99, "epsilon": 1e-6},
        {"beta_1": 0.9, "beta_2": 0.9, "epsilon": 1e-8},
    ],
    ids=str,
)
def test_updates_are_those_of_pytorch(settings, size):
    """At once and at tiny gradients too, where epsilon is what divides."""
    found, _ = updated(FusedAdam, RATE, size, **settings)
    for ours, theirs in zip(found, expected(size, **settings), strict=True):
        for a, b in zip(ours, theirs, strict=True):
            # 1 - beta_2^t of floats is exact to 6e-5 of itself at the first steps.
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * RATE * min(1, size / 1e-6))


def test_keras_shortens_the_first_steps_at_tiny_gradients():
    """What the class is for: gradients of epsilon's own size, the released code's settings."""
    settings = {"beta_1": 0.0, "beta_2": 0.999, "epsilon": 1e-6}
    ours, theirs = (
        updated(k, RATE, 1e-6, **settings)[0] for k in (FusedAdam, keras.optimizers.Adam)
    )
    assert np.linalg.norm(ours[0][0]) > 10 * np.linalg.norm(theirs[0][0])


@pytest.mark.parametrize("rate", [RATE, LinearRampUp(RATE, 3)], ids=["constant", "ramp"])
def test_all_but_epsilon_is_as_in_keras(rate):
    """Schedules, moments, counters and the names under which checkpoints keep them."""
    settings = {"beta_1": 0.5, "beta_2": 0.99, "epsilon": 1e-20}
    (found, ours), (wanted, theirs) = (
        updated(kind, rate, 1.0, **settings) for kind in (FusedAdam, keras.optimizers.Adam)
    )
    for a, b in zip(found[-1], wanted[-1], strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-7)
    for a, b in zip(ours, theirs, strict=True):
        # Without the optimizer's own name, which Keras numbers.
        assert a.path.rpartition("/")[2] == b.path.rpartition("/")[2]
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-7)
