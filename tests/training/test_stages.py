"""Several stages in one run: propagate, then fine-tune; stopped anywhere, it ends the same."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from cgt_tf.errors import InputError
from cgt_tf.runs.run_dir import RunDir

sys.path.insert(0, str(Path(__file__).parents[1] / "conformance"))
import trajectories

# Two steps of each stage, a checkpoint at each: the border is step 2.
KNOBS = {
    "cgan_transfer.stages": ("propagate", "fine_tune"),
    "cgan_transfer.propagate_steps": 2,
    "training.steps": 2,
    "training.checkpoint_every": 1,
}
BORDER, LAST = 2, 4
# Steps whose checkpoint is the last thing a run does, and whether it is complete.
DEATHS = {"before": (1, True), "at": (2, True), "writing_after": (3, False), "after": (3, True)}


def make_run(directory, knobs=KNOBS, name="run"):
    from cgt_tf.training.loop import TrainingRun
    from cgt_tf.training.session import Session

    fields = {**trajectories.knobs("cgan_transfer", directory), **knobs}
    config = trajectories.make_config(fields)
    session = Session.create(config)
    run = RunDir(directory / name)
    training = TrainingRun(
        config, run, session.strategy, session.method, session.networks, session.train_images
    )
    run.open(config, session.networks.class_names)
    return training


def die_at(step, complete, die):
    """Has the checkpoint of a step call `die`, after or before it is complete."""
    from cgt_tf.training.hooks import Checkpoints

    begin, finish = Checkpoints.begin, Checkpoints.complete
    current = []

    def begins(self, number, gan):
        current[:] = [number]
        begin(self, number, gan)

    def finishes(self):
        if current == [step] and not complete:
            die()
        finish(self)
        if current == [step]:
            die()

    Checkpoints.begin, Checkpoints.complete = begins, finishes
    return begin, finish


def stored(run, step):
    reader = tf.train.load_checkpoint(str(run.checkpoint_path(step)))
    names = [name for name in reader.get_variable_to_shape_map() if "OBJECT_GRAPH" not in name]
    return {name: reader.get_tensor(name) for name in names}


def check_equal(found, expected):
    values, wanted = stored(found, LAST), stored(expected, LAST)
    assert values.keys() == wanted.keys()
    for key, value in wanted.items():
        np.testing.assert_array_equal(values[key], value, err_msg=key)
    ours, theirs = trajectories.reported(found.path), trajectories.reported(expected.path)
    assert ours == theirs


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The uninterrupted run, on inputs that the others share."""
    directory = tmp_path_factory.mktemp("straight")
    trajectories.write_inputs(directory)
    training = make_run(directory)
    training.train()
    return directory, training


def test_stages_train_what_they_should_and_count_on(straight):
    _, training = straight
    records = [r for r in training.run.read_stats() if "generator_loss" in r]
    assert [(r["step"], r["stage"]) for r in records] == [
        *((1, "propagate"), (2, "propagate")),
        *((3, "fine_tune"), (4, "fine_tune")),
    ]
    assert ["l1_scores" in r for r in records] == [True, True, False, False]
    iterations = {name: o.iterations for name, o in training.state.optimizers.items()}
    # The discriminator's optimizer goes on across the border.
    assert iterations == {
        "discriminator": 4,
        "generator_propagate": 2,
        "generator_fine_tune": 2,
    }
    middle, end = (stored(training.run, step) for step in (3, LAST))
    key = "networks/generator/{}/.ATTRIBUTES/VARIABLE_VALUE"
    moved = {
        name: not np.array_equal(middle[key.format(name)], end[key.format(name)])
        for name in ("block_0.Sconv1.Skernel", "block_0.Snorm1.Sscale.Sscores.Skernel")
    }
    assert list(moved.values()) == [True, False]


def test_the_first_stage_is_the_one_that_runs_alone(tmp_path):
    """Though its frozen kernels are divided by their norms in each call, not beforehand."""
    trajectories.write_inputs(tmp_path)
    trainings = [make_run(tmp_path, KNOBS, "both"), make_run(tmp_path, {}, "alone")]
    # Of the fresh class table, drawn after the generator's own.
    vectors = [t.networks.discriminator.class_projection.u for t in trainings]
    vectors[1].assign(vectors[0])
    records = []
    for training in trainings:
        span = training.spans[0]
        step, batches = training.make_step(span), training.batches(span, 0)
        records.append({name: value.numpy() for name, value in step(batches, 2).items()})
    assert records[0].keys() == records[1].keys()
    for name, values in records[1].items():
        np.testing.assert_allclose(records[0][name], values, rtol=1e-5, atol=1e-5, err_msg=name)


def test_frozen_kernels_and_their_norms_rest_in_the_first_stage(tmp_path):
    trajectories.write_inputs(tmp_path)
    training = make_run(tmp_path)
    layers = training.networks.generator.spectral_layers()
    assert all(layer.spectral_norm for layer in layers)
    before = [(layer.kernel.numpy(), layer.u.numpy()) for layer in layers]
    span = training.spans[0]
    step, batches = training.make_step(span), training.batches(span, 0)
    step(batches)
    for layer, (kernel, u) in zip(layers, before, strict=True):
        np.testing.assert_array_equal(layer.kernel, kernel)
        np.testing.assert_array_equal(layer.u, u)


def test_a_ramp_may_end_in_any_stage_of_the_run_but_not_after_it(tmp_path):
    trajectories.write_inputs(tmp_path)
    make_run(tmp_path, {**KNOBS, "training.ramp_end": 4}, "in_time")
    with pytest.raises(InputError, match="ramp_end of at most the run's 4 steps, got 5"):
        make_run(tmp_path, {**KNOBS, "training.ramp_end": 5}, "late")


class Stopped(Exception):
    pass


@pytest.mark.parametrize(
    "place", ["after", *(pytest.param(p, marks=pytest.mark.slow) for p in DEATHS if p != "after")]
)
def test_a_run_stopped_around_the_border_ends_the_same(straight, tmp_path, place):
    from cgt_tf.training.hooks import Checkpoints

    def stop():
        raise Stopped

    trajectories.write_inputs(tmp_path)
    own = die_at(*DEATHS[place], stop)
    try:
        with pytest.raises(Stopped):
            make_run(tmp_path).train()
    finally:
        Checkpoints.begin, Checkpoints.complete = own
    step, complete = DEATHS[place]
    assert RunDir(tmp_path / "run").saved_steps()[-1] == (step if complete else step - 1)
    resumed = make_run(tmp_path)
    resumed.train()
    check_equal(resumed.run, straight[1].run)


@pytest.mark.slow
def test_a_run_killed_around_the_border_ends_the_same(straight, tmp_path):
    """Four times by SIGKILL, in processes of their own."""
    trajectories.write_inputs(tmp_path)
    for place, (step, complete) in DEATHS.items():
        command = [sys.executable, __file__, str(tmp_path), str(step), str(int(complete))]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == -signal.SIGKILL, (place, result.stderr[-2000:])
    command = [sys.executable, __file__, str(tmp_path), "99", "1"]
    subprocess.run(command, check=True, capture_output=True)
    check_equal(RunDir(tmp_path / "run"), straight[1].run)


if __name__ == "__main__":
    # As in tests/conftest.py: only then are runs here and there the same bit for bit.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.run_functions_eagerly(True)
    die_at(int(sys.argv[2]), bool(int(sys.argv[3])), lambda: os.kill(os.getpid(), signal.SIGKILL))
    make_run(Path(sys.argv[1])).train()
