"""D's gap, the collapse alarm and early stop, alone and in the loop."""

import numpy as np
import pytest
from tiny_scratch import TinyScratch

from cgt_tf.metrics.metric import Comparison, LabelledFeatures
from cgt_tf.metrics.registry import get_metric
from cgt_tf.training.alarms import VARIANCE_RATIO, EarlyStop, LogitGap, collapse_warnings


def record(step, real, fake):
    return {"step": step, "d_real": real, "d_fake": fake}


def test_the_gap_is_the_mean_over_steps_since_the_last_evaluation():
    gap = LogitGap([])
    assert gap.take() == {}
    gap.add(record(3, 1.0, 0.0))
    gap.add(record(4, 5.0, 0.0))
    assert gap.take() == {"d_gap": pytest.approx((3 * 1 + 5) / 4)}
    gap.add(record(6, 2.0, 4.0))
    assert gap.take() == {"d_gap": -2.0}
    assert gap.take() == {}


def test_a_resumed_run_goes_on_with_what_was_logged():
    """Steps of all stages count."""
    records = [
        {"step": 0, "fid": 3.0},
        {"stage": "warm_up", **record(2, 9.0, 0.0)},
        {"step": 2, "fid": 2.0, "d_gap": 9.0},
        {"stage": "warm_up", **record(3, 1.0, 0.0)},
    ]
    gap = LogitGap(records)
    gap.add({"stage": "scratch", **record(5, 4.0, 0.0)})
    assert gap.take() == {"d_gap": pytest.approx((1 + 2 * 4) / 3)}


def test_steps_without_a_discriminator_have_no_gap():
    gap = LogitGap([])
    gap.add({"step": 4, "reconstruction": 1.0})
    assert gap.take() == {}


@pytest.mark.parametrize(("ratio", "share"), [(0.3, 0.3), (0.9, 0.3), (0.0, 0.0), (None, 0.3)])
def test_no_warning(ratio, share):
    scores = {"fid": 1.0} if ratio is None else {VARIANCE_RATIO: ratio}
    assert collapse_warnings(scores, share) == []


def test_a_warning_names_ratio_and_limit():
    (warning,) = collapse_warnings({VARIANCE_RATIO: 0.12, "fid": 8.0}, 0.3, [{"fid": 9.0}])
    assert "0.12" in warning and "0.3" in warning and "\n" not in warning


@pytest.mark.parametrize(
    ("earlier", "now", "warned"),
    [
        ([], {"fid": 9.0}, False),
        ([{"fid": 9.0}], {"fid": 10.0}, False),
        ([{"fid": 9.0}, {"fid": 8.0}], {"fid": 10.0}, True),
        ([{VARIANCE_RATIO: 0.05}], {}, True),
        ([{VARIANCE_RATIO: 0.2}], {}, False),
        ([{VARIANCE_RATIO: 1.02}], {}, True),
        ([{"fid": 9.0, VARIANCE_RATIO: 1.02}], {"fid": 10.0}, True),
    ],
)
def test_the_start_of_a_transfer_is_no_collapse(earlier, now, warned):
    """Before a score has improved on the first."""
    scores = {VARIANCE_RATIO: 0.12, **now}
    assert bool(collapse_warnings(scores, 0.3, earlier)) is warned


def test_early_stop_counts_evaluations_in_a_row():
    stop = EarlyStop(2)
    for improved, due in [(0, False), (1, False), (0, False), (0, True), (1, False)]:
        stop.count(bool(improved))
        assert stop.due == due


def test_the_variance_ratio_is_a_score_of_the_evaluation():
    """Training ranks below evaluation and knows the score by its name alone."""
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    real, fake = (
        LabelledFeatures(scale * rng.normal(size=(40, 3)), np.zeros((40, 0)), labels, ("a", "b"))
        for scale in (1.0, 0.1)
    )
    found = get_metric("diversity").compute(Comparison(real=real, fake=fake, statistics=None))
    assert found.scalars[VARIANCE_RATIO] < 0.05
    assert collapse_warnings({"fid": 1.0, **found.scalars}, 0.3, [{"fid": 2.0}])


def test_a_collapse_is_said_and_kept(make_run, config, capsys):
    config.training.steps = 3
    config.training.checkpoint_every = 0
    config.evaluation.every = 1
    ratios = [1.0, 0.1, 0.5, 0.29]

    def evaluate(extended, step):
        return {"fid": 9.0 - step, VARIANCE_RATIO: ratios[step]}

    run = make_run(config, evaluate=evaluate, method=TinyScratch)
    run.train()
    scored = {r["step"]: r for r in run.run.read_stats() if "fid" in r}
    assert [step for step, r in scored.items() if "warnings" in r] == [1, 3]
    assert "0.29" in scored[3]["warnings"][0]
    lines = [line for line in capsys.readouterr().err.splitlines() if "collapse: " in line]
    assert len(lines) == 2 and "warning: step 1: collapse" in lines[0]
    logged = {r["step"]: r for r in run.run.read_stats() if "d_real" in r}
    assert "d_gap" not in scored[0]
    for step in (1, 2, 3):
        gap = logged[step]["d_real"] - logged[step]["d_fake"]
        assert scored[step]["d_gap"] == pytest.approx(gap, rel=1e-5)


def test_early_stop_goes_by_the_score_of_the_best_checkpoint(make_run, config, capsys):
    config.training.steps = 4
    config.training.early_stop = 2
    config.evaluation.every = 1
    config.evaluation.metrics, config.evaluation.best = ("fid", "prdc"), "recall"
    fids, recalls = [9.0, 8.0, 7.0, 6.0, 5.0], [0.2, 0.4, 0.3, 0.4, 0.5]
    run = make_run(config, evaluate=lambda _, step: {"fid": fids[step], "recall": recalls[step]})
    assert int(run.train().step.numpy()) == 3
    assert "stopped early: no better recall than 0.4 in 2 evaluations" in capsys.readouterr().err


def test_early_stop_ends_a_run_for_good(make_run, config, capsys):
    config.training.steps = 8
    config.training.checkpoint_every = 0
    config.training.early_stop = 2
    config.evaluation.every = 1
    fids = [9.0, 5.0, 6.0, 4.0, 4.5, 4.0, 1.0, 1.0, 1.0]
    scored = []

    def evaluate(extended, step):
        scored.append(step)
        return {"fid": fids[step]}

    run = make_run(config, evaluate=evaluate)
    state = run.train()
    assert scored == [0, 1, 2, 3, 4, 5]
    assert int(state.step.numpy()) == 5
    assert run.run.saved_steps()[-1] == 5
    assert run.run.resolve_checkpoint("best") == 3
    said = "stopped early: no better fid than 4 in 2 evaluations (--config.training.early_stop)"
    assert said in capsys.readouterr().err
    lines = run.run.read_stats()
    again = make_run(config, evaluate=evaluate)
    state = again.train()
    assert "stopped early" in capsys.readouterr().err
    assert int(state.step.numpy()) == 5 and len(scored) == 6
    assert again.run.read_stats() == lines
