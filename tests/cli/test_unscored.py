"""A training without a feature network that fits goes on, unless its end depends on scores."""

from types import SimpleNamespace

import pytest

from cgt_tf.features.choice import NoFeaturesError
from cgt_tf.methods.registry import create_config
from cgt_tf.scoring import of_runs


@pytest.fixture
def session(monkeypatch):
    def none_fits(*arguments):
        raise NoFeaturesError("no feature network at hand fits: make one with cgt-features")

    monkeypatch.setattr(of_runs, "run_evaluator", none_fits)
    networks = SimpleNamespace(class_names=("labrador",))
    parts = dict.fromkeys(("strategy", "train_images", "heldout"))
    return SimpleNamespace(config=create_config(), networks=networks, **parts)


def test_it_says_in_one_line_what_comes_first(session, capsys):
    assert of_runs.training_scores(session, print) is None
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("no scores in this run:") and "make one with cgt-features" in line


def test_early_stop_needs_scores(session):
    session.config.training.early_stop = 3
    with pytest.raises(NoFeaturesError):
        of_runs.training_scores(session, print)


def test_no_features_are_looked_for_where_no_scores_are_asked_for(session, capsys):
    session.config.evaluation.every = 0
    assert of_runs.training_scores(session, print) is None
    assert capsys.readouterr().out == ""
