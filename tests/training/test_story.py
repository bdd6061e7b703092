"""What a run tells: its lines, log.txt, and the pictures of its samples."""

import numpy as np
import pytest
from PIL import Image
from tiny_scratch import CLASS_NAMES

from cgt_tf.runs.run_dir import RunDir
from cgt_tf.training.story import Story


@pytest.fixture
def clock():
    class Clock:
        now = 100.0

        def __call__(self):
            return self.now

    return Clock()


@pytest.fixture
def run(tmp_path, config, images):
    run = RunDir(tmp_path / "run")
    run.open(config, CLASS_NAMES, images)
    return run


def log_of(run):
    """Lines of log.txt without their times."""
    text = (run.path / "log.txt").read_text(encoding="utf-8")
    return [line[21:] for line in text.splitlines()]


def test_a_line_a_score_compares_with_the_best_and_says_what_is_left(run, clock, capsys):
    story = Story(run, 40, clock)
    story.scores(0, {"fid": 90.0, "accuracy": 0.01})
    story.begin(0)
    clock.now += 5
    story.scores(10, {"fid": 50.0, "accuracy": 0.25})
    clock.now += 295
    story.scores(20, {"fid": 60.5})
    assert log_of(run) == [
        "step 0/40  fid 90 (the first)  accuracy 0.01",
        "step 10/40  fid 50 (best so far, was 90 at step 0)  accuracy 0.25  15 s left",
        "step 20/40  fid 60.5 (best 50 at step 10)  5.0 min left",
    ]
    assert capsys.readouterr().err.splitlines() == log_of(run)


def test_a_resumed_run_knows_its_scores_and_guesses_from_its_own_steps(run, clock):
    run.append_stats({"step": 10, "fid": 50.0})
    story = Story(run, 40, clock)
    story.begin(10)
    clock.now += 10
    story.scores(20, {"fid": 60.0})
    assert log_of(run) == ["step 20/40  fid 60 (best 50 at step 10)  20 s left"]


def test_scores_without_the_criterion_are_told_too(run, clock):
    Story(run, 40, clock).scores(10, {"kid": 0.5})
    assert log_of(run) == ["step 10/40  kid 0.5"]


def test_the_criterion_is_the_configs_and_other_scores_stand_beside(
    tmp_path, config, images, clock
):
    config.evaluation.best = "recall"
    run = RunDir(tmp_path / "recall")
    run.open(config, CLASS_NAMES, images)
    story = Story(run, 40, clock)
    story.scores(0, {"fid": 90.0, "recall": 0.25})
    story.scores(10, {"fid": 50.0, "recall": 0.125})
    story.scores(20, {"fid": 60.0, "recall": 0.5})
    assert log_of(run) == [
        "step 0/40  recall 0.25 (the first)  fid 90",
        "step 10/40  recall 0.125 (best 0.25 at step 0)  fid 50",
        "step 20/40  recall 0.5 (best so far, was 0.25 at step 0)  fid 60",
    ]
    story.end()
    assert "recall: first 0.25 at step 0, best 0.5 at step 20, last 0.5 at step 20" in log_of(run)


def test_the_end_says_what_came_out_and_what_is_next(make_run, config):
    config.evaluation.every = 2
    fids = {0: 9.0, 2: 4.0, 4: 5.0}
    training = make_run(config, evaluate=lambda extended, step: {"fid": fids[step]})
    training.train()
    lines = log_of(training.run)
    assert "fid: first 9 at step 0, best 4 at step 2, last 5 at step 4" in lines
    assert "best checkpoint: step 2 of 0, 2, 4" in lines
    assert lines[-5:] == [
        f"samples: {training.run.samples}",
        f"next: cgt-evaluate --workdir={training.run.path}",
        f"      cgt-sample --model={training.run.path} --output={training.run.path}/grid.png",
        f"      cgt-report --workdir={training.run.path}",
        f"      cgt-export --workdir={training.run.path} --output={training.run.path}/served",
    ]


def test_the_end_of_a_run_without_scores_says_which_checkpoint_counts(make_run, config):
    training = make_run(config)
    training.train()
    lines = log_of(training.run)
    assert "no scores: the best checkpoint is the last one" in lines
    assert "best checkpoint: step 4 of 2, 4" in lines


def test_other_workers_tell_nothing(tmp_path, run, clock, capsys):
    story = Story(RunDir(run.path, chief=False), 40, clock)
    story.scores(0, {"fid": 90.0})
    story.end()
    assert not (run.path / "log.txt").exists() and capsys.readouterr().err == ""


def test_training_images_stand_in_a_grid_like_the_samples(make_run, config, images):
    config.training.sample_every = 4
    training = make_run(config)
    training.train()
    reals, samples = (
        Image.open(training.run.samples / name) for name in ("reals.png", "step_000004.png")
    )
    assert reals.size == samples.size
    first = images.images[images.labels == 0][0].repeat(8, 0).repeat(8, 1)
    pixels = np.asarray(reals)
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (64, 64), axis=(0, 1))
    assert (np.moveaxis(windows[:, ::1], 2, -1) == first).all(axis=(2, 3, 4)).any()
