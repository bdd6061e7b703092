"""Two workers on this machine train as one device does, and only the chief writes the run."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.slow


def free_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def start(root, name, strategy, worker=None, ports=()):
    environment = dict(os.environ)
    if worker is not None:
        cluster = {"cluster": {"worker": [f"localhost:{port}" for port in ports]}}
        environment["TF_CONFIG"] = json.dumps(
            {**cluster, "task": {"type": "worker", "index": worker}}
        )
    arguments = (
        f"--config.method.name=scratch --config.data.train={root}/photos "
        "--config.model.g_widths=8,4,4,4 --config.model.d_widths=4,4,8 --config.model.dim_z=8 "
        "--config.training.steps=6 --config.training.batch_size=4 --config.training.log_every=2 "
        f"--config.evaluation.every=0 --config.training.strategy={strategy} "
        f"--config.data.cache_dir={root}/cache_{worker} --workdir={root}/{name}"
    )
    command = [sys.executable, "-m", "cgt_tf.cli.train", *arguments.split()]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def losses(directory):
    lines = (directory / "stats.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["discriminator_loss"] for line in lines]


def test_two_workers_follow_one_device(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("ape", "bee"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(6):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    ports = (free_port(), free_port())
    workers = [start(tmp_path, "two", "multi_worker", i, ports) for i in range(2)]
    for worker in workers:
        output, _ = worker.communicate(timeout=500)
        assert worker.returncode == 0, output
    alone = start(tmp_path, "one", "one_device")
    output, _ = alone.communicate(timeout=500)
    assert alone.returncode == 0, output
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), atol=1e-4)
    assert len(losses(tmp_path / "two")) == 3
    assert (tmp_path / "two" / "checkpoints" / "step_0000006" / "manifest.json").is_file()
