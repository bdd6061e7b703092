"""Tiny trainings end where they ended when goldens/trajectories.json was recorded.

Recordings go back to revision 68bd0d4, but for what `INTENDED` names and for methods and knobs that
came later. All were made again when Adam began to add its epsilon where PyTorch does; the code
before that passed with the older ones. A difference is either a defect or a change that belongs
there, with its reason.
"""

import contextlib
import json

import numpy as np
import pytest
import trajectories
from helpers import as_graphs

GOLDEN = json.loads(trajectories.GOLDEN.read_text(encoding="utf-8"))
# A variable moves by some 1e-4 of its size, of which a float keeps three digits.
MOVED_RTOL = 2e-3
# Biases before a norm have a gradient of 0 but for rounding, and move by up to 3e-8, with another
# number of threads by another 3e-8. All else moves by more than 3e-7.
ROUNDING = 5e-8
# Case -> why it was recorded again.
INTENDED = {
    "ramp": "the generator's classes are blended in from their mean, no longer from offsets of 0",
    "warm_up": "a stage like any other, its draws are keyed by the run's microbatches and images",
    "d_steps_4": "what D's updates of a step report is their mean, no longer the last one's",
}
# Cases of the default run, which between them meet every kind of update. All but
# QUICK_GRAPHS are run without graphs, which takes half the time; the slow ones as users have them.
QUICK = {"cgan_transfer_code", "transfergan", "bsa", "combined", "two_replicas"}
QUICK_RESUMED = {"ada"}
QUICK_GRAPHS = ("[combined]", "[ada]")  # Two replicas too, in a process of their own.


def cases(names, quick):
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.fixture(autouse=True)
def graphs(request):
    slow = request.node.get_closest_marker("slow")
    graph = slow or request.node.name.endswith(QUICK_GRAPHS)
    with as_graphs(rewritten=bool(slow)) if graph else contextlib.nullcontext():
        yield


def flat(value, name=""):
    """Nested lists and dicts of numbers as one dict."""
    if not isinstance(value, (list, dict)):
        return {name: value}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    parts = [flat(part, f"{name}[{key}]") for key, part in items]
    return {key: number for part in parts for key, number in part.items()}


def check(found, case):
    expected = GOLDEN["cases"][case]
    # Last digits depend on the processor and the libraries; without graphs they differ by 2e-6.
    rtol = 1e-5 if expected["machine"] == trajectories.machine() else 1e-4
    for part in ("draws", "steps", "norms"):
        ours, theirs = flat(found[part]), flat(expected[part])
        assert ours == pytest.approx(theirs, rel=rtol, abs=rtol), (case, part)
    moved, wanted = found["moved"], expected["moved"]
    assert moved.keys() == wanted.keys()
    for name, value in wanted.items():
        # What a float's spacing leaves of a small step of a large variable.
        spacing = 6e-8 * found["norms"][name]
        np.testing.assert_allclose(
            moved[name], value, rtol=MOVED_RTOL, atol=ROUNDING + 3 * spacing, err_msg=name
        )


@pytest.mark.parametrize(
    "case", cases([c for c in trajectories.CASES if c not in trajectories.REPLICAS], QUICK)
)
def test_a_training_takes_the_recorded_steps(case, tmp_path):
    check(trajectories.compute([case], tmp_path)[case], case)


@pytest.mark.parametrize("case", cases(trajectories.REPLICAS, QUICK))
def test_two_replicas_take_the_recorded_steps(case):
    check(trajectories.compute_apart(case), case)


@pytest.mark.parametrize("case", cases(trajectories.RESUMED, QUICK_RESUMED))
def test_a_resumed_training_takes_the_recorded_steps(case, tmp_path):
    check(trajectories.compute([case], tmp_path, resumed=True)[case], case)


def test_every_recorded_case_is_run_and_intended_changes_are_cases():
    assert GOLDEN["cases"].keys() == trajectories.CASES.keys()
    assert INTENDED.keys() <= GOLDEN["cases"].keys()
