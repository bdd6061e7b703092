"""A source made of images without labels, its scores, and a transfer from it to classes."""

import numpy as np
import pytest
from helpers import make_photos

from cgt_tf.config import EvaluationConfig, ModelConfig, TrainingConfig
from cgt_tf.data.few_shot import load_data
from cgt_tf.export.saved_model import export_saved_model
from cgt_tf.export.served import load_saved_model
from cgt_tf.methods.registry import create_config, validate
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.runs.snapshots import open_snapshot
from cgt_tf.scoring.of_runs import training_scores
from cgt_tf.scoring.request import Request
from cgt_tf.scoring.score import score
from cgt_tf.training.loop import TrainingRun
from cgt_tf.training.session import Session

MODEL = {"g_widths": (8, 4, 4, 4), "d_widths": (4, 4, 8), "dim_z": 8, "shared_dim": 6}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("unlabelled")
    make_photos(root / "old", {"ape": 3, "bee": 5, "cat": 4})
    make_photos(root / "old_heldout", {"ape": 4, "bee": 4, "cat": 4})
    make_photos(root / "new", {"dog": 6, "emu": 6})
    return root


def config_of(root, method, settings, **groups):
    config = create_config(method, settings, **groups)
    config.data.cache_dir = str(root / "cache")
    config.training = TrainingConfig(steps=2, batch_size=4, log_every=1, sample_every=2)
    config.evaluation = EvaluationConfig(every=2, num_samples=8, metrics=("fid", "diversity"))
    return config


def train(config, directory):
    validate(config)
    session = Session.create(config)
    run = RunDir(directory)
    scores = training_scores(session, print)
    training = TrainingRun(
        config,
        run,
        session.strategy,
        session.method,
        session.networks,
        session.train_images,
        scores,
    )
    run.open(config, session.networks.class_names)
    training.train()
    return training


def test_labels_are_dropped_of_training_and_heldout_images(root):
    config = config_of(root, "scratch", {})
    config.data.train, config.data.heldout = str(root / "old"), str(root / "old_heldout")
    known = load_data(config, 32)
    config.data.unlabelled = True
    for images, labelled in zip(load_data(config, 32), known, strict=True):
        assert images.class_names == ("all",) and not images.labels.any()
        np.testing.assert_array_equal(images.images, labelled.images)
        assert images.name == f"{labelled.name}, without labels"
    # A few-shot draw is of each class, as with labels.
    config.data.images_per_class, config.data.heldout = 2, ""
    few, heldout = load_data(config, 32)
    assert few.counts == {"all": 6} and heldout is None


@pytest.mark.slow
def test_from_images_without_labels_to_classes(root, tmp_path):
    config = config_of(root, "scratch", {}, model=ModelConfig(**MODEL))
    config.data.train, config.data.heldout = str(root / "old"), str(root / "old_heldout")
    config.data.unlabelled = True
    source = train(config, tmp_path / "source")
    assert source.networks.class_names == ["all"]
    request = Request(
        workdir=str(tmp_path / "source"), checkpoint="last", metrics=("fid", "diversity")
    )
    scores, _ = score(request)
    assert np.isfinite(scores.metrics["fid"])

    config = config_of(root, "hyper_modulation", {"rank": 1, "task_width": 4})
    config.source = f"run:{tmp_path / 'source'}"
    config.data.train = str(root / "new")
    config.evaluation.standing_batches = 1
    training = train(config, tmp_path / "run")
    assert training.networks.spec.table_classes == 1
    (record,) = [r for r in training.run.read_stats() if r["step"] == 2 and "fid" in r]
    assert np.isfinite(record["fid"])
    snapshot = open_snapshot(str(tmp_path / "run"), "last")
    served = load_saved_model(export_saved_model(snapshot.extended(), tmp_path / "served"))
    assert served.class_names == ["dog", "emu"]
    assert served.sample([0, 1], [5, 5]).shape == (2, 32, 32, 3)
