"""What TensorFlow prints at every start is left out, and nothing else is."""

import logging
import os
import subprocess
import sys

import pytest

from cgt_tf.cli import quiet

USUAL = [
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1.1 7 port.cc:153] oneDNN custom operations are on. You may see slightly",
    "I0000 00:00:1.2 7 cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU will",
    "E0000 7 cuda_platform.cc:52] failed call to cuInit: INTERNAL: UNKNOWN ERROR (303)",
    "I0000 7 cpu_feature_guard.cc:227] This TensorFlow binary is optimized to use available CPU"
    " instructions in performance-critical operations.",
]
OTHERS = [
    "E0000 7 cuda_platform.cc:52] failed call to cuInit: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
    "Segmentation fault",
    "a warning of ours, with ünïcode",
]


def test_usual_lines_are_left_out_and_others_shown(capfd):
    with quiet.usual_lines_left_out():
        os.write(2, "\n".join([*USUAL, *OTHERS]).encode())
    os.write(2, b"after")
    assert capfd.readouterr().err.splitlines() == [*OTHERS, "after"]


def test_lines_are_shown_where_the_import_fails(capfd):
    with pytest.raises(ImportError), quiet.usual_lines_left_out():
        os.write(2, b"libcudart.so: cannot open shared object file\n")
        raise ImportError
    assert "libcudart.so" in capfd.readouterr().err


@pytest.mark.parametrize(
    "first",
    [
        pytest.param("", marks=pytest.mark.slow),
        "from cgt_tf.cli import quiet; quiet.before_tensorflow();",
    ],
)
def test_the_import_of_tensorflow_is_quiet(first):
    """Without it the lines are there, or the test would show nothing."""
    code = f"{first}\nimport tensorflow as tf; print(tf.constant(1).numpy(), tf.__spec__.name)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.split() == ["1", "tensorflow"]
    assert (done.stderr == "") == bool(first)


def test_graphs_of_several_generators_are_no_mistake():
    messages = ("5 out of the last 5 calls to <f> triggered tf.function retracing.", "no such file")
    records = [logging.LogRecord("tensorflow", 30, "", 1, text, (), None) for text in messages]
    assert list(map(quiet.is_worth_a_line, records)) == [False, True]
