"""Protocols that are about a certain checkpoint of a run."""

import pytest

from cgt_tf.config import EvaluationConfig
from cgt_tf.methods.registry import create_config
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.scoring.of_runs import at_checkpoint
from cgt_tf.scoring.protocols import TABLE, get_protocol

SCORES = {10: {"fid": 3.0, "recall": 0.1}, 20: {"fid": 9.0, "recall": 0.9}, 30: {}}


def run_of(path, best, scores):
    config = create_config("scratch")
    config.evaluation.best = best
    run = RunDir(path)
    run.open(config, ("ape", "bee"))
    for step, values in scores.items():
        state, gan = run.new_checkpoint(step)
        gan.mkdir()
        (gan / "generator.npz").write_bytes(b"weights")
        state.with_suffix(".index").write_bytes(b"index")
        run.complete_checkpoint(step)
        run.append_stats({"step": step, **values})
    return run


@pytest.mark.parametrize(
    ("best", "scores", "which", "said"),
    [
        ("fid", SCORES, "best", ""),
        ("fid", SCORES, "10", ""),
        ("fid", SCORES, "20", "20"),
        ("fid", SCORES, "last", "last"),
        ("recall", SCORES, "best", "best by recall"),
        ("recall", SCORES, "10", "10"),
        ("", SCORES, "best", "last"),
        ("fid", {10: {}}, "best", "last"),
        ("fid", {10: {}}, "10", "last"),
    ],
)
def test_the_paper_is_about_the_checkpoint_of_the_lowest_fid(tmp_path, best, scores, which, said):
    run = run_of(tmp_path / "run", best, scores)
    found = at_checkpoint(TABLE["paper"], run, which, run.resolve_checkpoint(which))
    assert found.name == ("paper, changed: checkpoint=" + said if said else "paper")


def test_other_protocols_take_any_checkpoint(tmp_path):
    run = run_of(tmp_path / "run", "recall", SCORES)
    for protocol in (TABLE["fid5k_heldout"], get_protocol("run", EvaluationConfig())):
        assert at_checkpoint(protocol, run, "last", 30) is protocol
