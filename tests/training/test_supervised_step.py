"""The supervised step on several devices."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

STEPS = 8


def test_two_replicas_follow_one_device():
    # In a process of its own: devices are split up before TensorFlow starts.
    script = Path(__file__).with_name("reconstruct_on_logical_devices.py")
    result = subprocess.run(
        [sys.executable, str(script), str(STEPS)], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-2000:]
    one, two = json.loads(result.stdout.splitlines()[-1])
    assert one.keys() == two.keys() == {"loss", "l1", "emd", "regularizer"}
    for name, values in one.items():
        assert len(values) == STEPS
        np.testing.assert_allclose(two[name], values, atol=1e-4, err_msg=name)
    assert np.ptp(one["l1"]) > 1e-3
