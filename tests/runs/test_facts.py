"""What a card says of the run that was exported: true away from the machine it was made on."""

import json

import pytest

from cgt_tf.errors import InputError
from cgt_tf.runs import facts
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.runs.snapshots import Snapshot

RECORD = {
    "config": {
        "source": "model:/home/someone/models/source",
        "data": {"train": "/home/someone/photos/"},
        "method": {"name": "cgan_transfer"},
    },
    "class_names": ["dog", "emu"],
    "images": {"dog": [6, "0" * 16]},
    "history": [],
}


@pytest.fixture
def snapshot(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(RECORD), encoding="utf-8")
    return Snapshot(RunDir(tmp_path), 20, None, ("dog", "emu"), {})


def test_data_and_method_without_the_machines_paths(snapshot):
    assert facts.of_export(snapshot) == {
        "data": {"train": "photos", "new_classes": {"dog": 6, "emu": "unknown"}},
        "method": {"name": "cgan_transfer", "source": "model:source", "checkpoint_step": 20},
    }


def test_scores_of_training_are_those_that_the_checkpoint_was_chosen_by(snapshot):
    config = {**RECORD["config"], "evaluation": {"best": "kid"}}
    text = json.dumps({**RECORD, "config": config})
    (snapshot.run.path / "config.json").write_text(text, encoding="utf-8")
    snapshot.run.append_stats({"step": 20, "fid": 5.0, "kid": 0.5})
    training = {"protocol": "run, while training", "metrics": {"kid": 0.5}}
    assert facts.of_export(snapshot)["scores"] == training


def test_scores_are_those_of_the_exported_checkpoint(snapshot):
    run = snapshot.run
    run.append_stats({"step": 10, "fid": 9.0})
    run.append_stats({"step": 20, "fid": 5.0})
    training = {"protocol": "run, while training", "metrics": {"fid": 5.0}}
    assert facts.of_export(snapshot)["scores"] == training
    result = {
        "protocol": "fid5k_heldout",
        "checkpoint_step": 10,
        "metrics": {"fid": 4.0, "accuracy": 0.5},
        "features": {"name": "/home/someone/features.keras"},
        "reference": {"name": "/home/someone/photos", "split": "heldout"},
        "num_fake": 5000,
    }
    path = run.path / "eval.json"
    path.write_text(json.dumps(result), encoding="utf-8")
    assert facts.of_export(snapshot)["scores"] == training  # eval.json is about another one.
    path.write_text(json.dumps(result | {"checkpoint_step": 20}), encoding="utf-8")
    assert facts.of_export(snapshot)["scores"] == {
        "protocol": "fid5k_heldout",
        "metrics": {"fid": 4.0, "accuracy": 0.5},
        "features": "features.keras",
        "reference_split": "heldout",
        "num_fake": 5000,
    }
    path.write_text("{")
    with pytest.raises(InputError, match=r"eval\.json"):
        facts.of_export(snapshot)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("bundled:glyphs/target", "bundled:glyphs/target"),
        ("tfds:cifar10:3.0.2/train", "tfds:cifar10:3.0.2/train"),
        ("tfhub:deepmind/biggan-128/2", "tfhub:deepmind/biggan-128/2"),
        ("tfhub:/home/someone/module", "tfhub:module"),
        ("pth:weights/G_ema.pth", "pth:G_ema.pth"),
        ("run:runs/source/", "run:source"),
        ("/data/a:b/photos", "photos"),
        ("", ""),
    ],
)
def test_a_spec_keeps_what_means_the_same_everywhere(spec, said):
    assert facts.public(spec) == said
