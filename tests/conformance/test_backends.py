"""Networks are Keras alone: on the JAX backend they train as on TensorFlow."""

import os
import subprocess
import sys
from pathlib import Path

import backend_step
import numpy as np
import pytest

pytest.importorskip("jax", reason="JAX is in the extra `dev`")
SCRIPT = Path(backend_step.__file__)


@pytest.mark.parametrize(
    "kind",
    # JAX takes ten seconds to compile each.
    ["shared", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("tables", "deep"))],
)
def test_a_step_on_jax_is_a_step_on_tensorflow(kind, tmp_path):
    """Images, logits, gradients of all weights, moving statistics and power vectors."""
    file = tmp_path / "jax.npz"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    # Compiled in half the time, for one step.
    environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), kind, str(file)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    ours, theirs = backend_step.step(kind), np.load(file)
    assert set(ours) == set(theirs)
    assert sum(name.startswith("gradient") for name in ours) > 30
    for name, value in ours.items():
        np.testing.assert_allclose(theirs[name], value, rtol=2e-4, atol=2e-5, err_msg=name)
