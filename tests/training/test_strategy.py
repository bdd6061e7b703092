"""Two replicas follow one device; in processes of their own, as devices are fixed at start."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

STEPS = 20


@pytest.fixture(scope="module")
def losses():
    """Losses of 20 steps by strategy, same global batch."""
    script = Path(__file__).with_name("train_on_logical_devices.py")
    commands = {
        name: subprocess.Popen(
            [sys.executable, str(script), name, str(STEPS)], stdout=subprocess.PIPE, text=True
        )
        for name in ("one_device", "mirrored")
    }
    outputs = {name: process.communicate()[0] for name, process in commands.items()}
    assert all(process.returncode == 0 for process in commands.values())
    return {name: json.loads(output.splitlines()[-1]) for name, output in outputs.items()}


@pytest.mark.parametrize("name", ["discriminator_loss", "generator_loss", "d_real", "d_fake"])
def test_mirrored_replicas_follow_one_device(losses, name):
    one, two = losses["one_device"], losses["mirrored"]
    assert (one["replicas"], two["replicas"]) == (1, 2)
    assert len(one[name]) == STEPS
    np.testing.assert_allclose(two[name], one[name], atol=1e-4)
    assert np.ptp(one[name]) > 1e-3
