"""Wrong flags end with one line and exit status 2, before TensorFlow is loaded."""

import subprocess
import sys
import time

import pytest
from command_line import run

COMMANDS = ("prepare", "import_", "train", "evaluate", "sample", "export", "features")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_answers_quickly_and_without_tensorflow(command):
    code = (
        "import sys, time; start = time.monotonic()\n"
        f"sys.argv = ['cgt-{command.rstrip('_')}', '--help']\n"
        f"from cgt_tf.cli import {command}\n"
        f"try: {command}.entry_point()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    start = time.process_time()
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert f"cgt-{command.rstrip('_')}" in result.stdout
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("command", "arguments", "expected"),
    [
        ("train", [], "expected --workdir="),
        ("train", ["--config.method.name=gan"], "must be one of cgan_transfer"),
        ("train", ["--config.training.steps=0"], "training.steps must be at least 1, got 0"),
        ("train", ["--config.training.steps=many"], "many"),
        ("train", ["--config.training.stepz=1"], "stepz"),
        ("train", ["--config.generator.beta_1=1.5"], "must be in [0, 1), got 1.5"),
        ("train", ["--config.training.strategy=tpu"], "must be one of auto"),
        ("train", ["--wordkir=x"], "wordkir"),
        ("train", ["word"], "expected flags only"),
        ("evaluate", [], "expected --workdir="),
        ("evaluate", ["--workdir=x", "--metrics=psnr"], "psnr"),
        ("export", ["--workdir=x"], "expected --output="),
        ("export", ["--format=onnx"], "onnx"),
        ("sample", ["--model=x"], "expected --output="),
        ("sample", ["--model=x", "--output=a.gif"], "must end in .png"),
        ("sample", ["--model=x", "--output=a.png", "--truncation=2"], "must be in (0, 1], got 2"),
    ],
)
def test_one_line_and_status_2(command, arguments, expected, tmp_path):
    result = run(command, *arguments, check=False)
    assert result.returncode == 2
    assert expected in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stderr.startswith(f"cgt-{command}: error: ")
