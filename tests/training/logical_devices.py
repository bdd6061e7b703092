"""Runs `train_on_logical_devices.py` with one replica and with two."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).with_name("train_on_logical_devices.py")


def train_on_one_and_two(steps: int, fields: dict) -> tuple[dict, dict]:
    """Losses by name of `steps` steps of each stage, of the same global batch.

    In processes of their own: devices are split up before TensorFlow starts.
    """
    arguments = [str(steps), json.dumps(fields)]
    commands = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), strategy, *arguments], stdout=subprocess.PIPE, text=True
        )
        for strategy in ("one_device", "mirrored")
    ]
    outputs = [command.communicate()[0] for command in commands]
    assert all(command.returncode == 0 for command in commands)
    one, two = (json.loads(output.splitlines()[-1]) for output in outputs)
    assert (one.pop("replicas"), two.pop("replicas")) == (1, 2)
    return one, two
