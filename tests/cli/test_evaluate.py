"""cgt-evaluate: a run, its SavedModel and a folder of its samples score the same number."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import make_photos, make_source
from in_process import run
from PIL import Image

from cgt_tf.errors import InputError
from cgt_tf.methods import registry
from cgt_tf.runs.snapshots import open_snapshot
from cgt_tf.scoring.of_runs import standing
from cgt_tf.scoring.protocols import get_protocol
from cgt_tf.scoring.request import Request
from cgt_tf.scoring.score import score
from cgt_tf.scoring.writing import write

NAMES = ("dog", "Жираф")
CLASSIFIER = "bundled:cifar_classifier"
METRICS = ("fid", "kmmd", "kid", "is", "prdc", "intra_kid", "diversity")
COUNT = 41  # No multiple of the classes or of the batch size.


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A run of one step, its export, and held-out images."""
    root = tmp_path_factory.mktemp("evaluate")
    make_photos(root / "photos", dict.fromkeys(NAMES, 6), size=(32, 32))
    make_photos(root / "heldout", dict.fromkeys(NAMES, 12), seed=1, size=(32, 32))
    run(
        "train",
        f"--config.source={make_source(root / 'source', blocks=3)}",
        f"--config.data.train={root}/photos",
        f"--config.data.heldout={root}/heldout",
        f"--config.data.cache_dir={root}/cache",
        *["--config.training.steps=1", "--config.training.batch_size=4"],
        *["--config.evaluation.every=0", "--config.evaluation.batch_size=16"],
        *f"--config.evaluation.num_samples={COUNT} --workdir={root}/run".split(),
    )
    run("export", f"--workdir={root}/run", f"--output={root}/served", "--nearest=False")
    return root


def request(root, **values):
    return Request(**{"cache_dir": str(root / "cache"), "metrics": METRICS, **values})


@pytest.fixture(scope="module")
def evaluations(root):
    """The three ways to score the same samples."""
    samples = str(root / "samples")
    same = {"features": CLASSIFIER, "batch_size": 16}
    metrics = (*METRICS, "nearest")
    of_run, run_dir = score(
        request(
            root,
            workdir=str(root / "run"),
            checkpoint="last",
            metrics=metrics,
            save_samples=samples,
        )
    )
    heldout = str(root / "heldout")
    changes = {"num_samples": COUNT}
    of_model, _ = score(
        request(root, model=str(root / "served"), data=heldout, changes=changes, **same)
    )
    of_images, _ = score(request(root, real=heldout, fake=samples, **same))
    return {"run": of_run, "model": of_model, "images": of_images, "run_dir": run_dir}


def numbers(evaluation):
    return {k: v for k, v in evaluation.metrics.items() if not k.startswith("near")}


def test_a_folder_of_the_samples_scores_what_the_run_scores(evaluations):
    of_run = numbers(evaluations["run"])
    assert {"fid", "kmmd", "kid", "is", "precision", "intra_kid", "diversity"} <= set(of_run)
    assert numbers(evaluations["images"]) == pytest.approx(of_run, rel=1e-9)


def test_the_saved_model_scores_what_the_run_scores(evaluations):
    # Graphs that were saved round otherwise: here and there a pixel moves by one grey level.
    of_run = numbers(evaluations["run"])
    assert numbers(evaluations["model"]) == pytest.approx(of_run, rel=1e-4)


def test_all_three_compare_with_the_same_images(evaluations):
    results = [evaluations[name].to_json() for name in ("run", "model", "images")]
    assert len({result["reference"]["fingerprint"] for result in results}) == 1
    assert len({result["features"]["fingerprint"] for result in results}) == 1
    assert {result["num_fake"] for result in results} == {COUNT}
    assert [result["reference"]["split"] for result in results] == ["heldout", "given", "given"]
    assert [result["protocol"] for result in results] == ["run", "unnamed", "unnamed"]
    assert [result["bn_statistics"] for result in results] == ["running", "as exported", None]
    assert [result["checkpoint_step"] for result in results] == [1, None, None]
    assert results[2]["truncation"] is None and results[2]["labels"] == "as given"
    assert results[1]["samples"] == "served/1"


def test_a_run_gets_json_picture_and_tensorboard(root, evaluations, tmp_path):
    run_dir = evaluations["run_dir"]
    written = write(evaluations["run"], None, run_dir)
    assert [path.name for path in written] == ["eval.json", "nearest.png"]
    stored = json.loads((root / "run" / "eval.json").read_text(encoding="utf-8"))
    assert stored == evaluations["run"].to_json()
    tags = set()
    for file in run_dir.events.glob("events*"):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            tags |= {value.tag for value in event.summary.value if event.step == 1}
    assert {"score/run/fid", "score/run/kid"} <= tags
    output = tmp_path / "scores.json"
    assert write(evaluations["images"], output) == [output]
    assert write(evaluations["images"], None) == []


def test_the_protocol_chooses_reference_and_name(root):
    few = request(root, workdir=str(root / "run"), metrics=("kmmd",), changes={"num_samples": 20})
    scores = {}
    for protocol in ("fid5k_heldout", "fid50k_train"):
        asked = dataclasses.replace(few, protocol=protocol)
        scores[protocol] = score(asked)[0].to_json()
    assert scores["fid5k_heldout"]["protocol"] == "fid5k_heldout, changed: num_samples=20"
    assert scores["fid5k_heldout"]["reference"]["split"] == "heldout"
    assert scores["fid50k_train"]["reference"]["split"] == "train"
    assert scores["fid50k_train"]["num_real"] == 12
    assert scores["fid50k_train"]["metrics"] != scores["fid5k_heldout"]["metrics"]


def test_standing_statistics_change_the_numbers_and_are_put_back(root, evaluations):
    snapshot = open_snapshot(str(root / "run"))
    config = registry.config_from_dict(snapshot.run.config())
    extended, names = snapshot.extended(), snapshot.new_classes
    protocol = get_protocol("run", config.evaluation).changed(standing_batches=2)
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    variables = extended.generator.non_trainable_variables
    before = [keras.ops.convert_to_numpy(variable) for variable in variables]
    with standing(extended, names, strategy, protocol, config):
        inside = [keras.ops.convert_to_numpy(variable) for variable in variables]
    after = [keras.ops.convert_to_numpy(variable) for variable in variables]
    for old, new in zip(before, inside, strict=True):
        # One row a domain: the old classes' stay, the new ones' are estimated again.
        assert len(old) == 2
        np.testing.assert_array_equal(old[0], new[0])
        assert (old[1] != new[1]).any()
    assert all((a == b).all() for a, b in zip(before, after, strict=True))
    asked = {"metrics": ("kmmd",), "changes": {"standing_batches": 2}}
    scores, _ = score(request(root, workdir=str(root / "run"), checkpoint="last", **asked))
    assert (scores.bn_statistics, scores.standing_batches) == ("standing", 2)
    assert scores.metrics["kmmd"] != evaluations["run"].metrics["kmmd"]


def test_the_command_prints_a_table_and_writes_json(root, tmp_path):
    output = tmp_path / "scores.json"
    result = run(
        "evaluate",
        f"--real={root}/heldout",
        f"--fake={root}/photos",
        f"--cache_dir={root}/cache",
        f"--output={output}",
        "--metrics=fid,nearest",
    )
    stored = json.loads(output.read_text(encoding="utf-8"))
    assert f"{stored['metrics']['fid']:.4f}" in result.stdout.splitlines()[0]
    assert f"written to {output}" in result.stdout
    # Photographs of 32 pixels: what `auto` takes, and how good it is.
    assert f"{CLASSIFIER}, 128 at 32 px" in result.stdout
    accuracy = stored["features"]["heldout_accuracy"]
    assert accuracy > 0.55 and f"names {accuracy:.1%} of its own" in result.stdout
    assert (tmp_path / "nearest.png").is_file()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "expected --data with a SavedModel"),
        ({"data": "heldout", "features": "bundled:glyph_classifier"}, "none of which is a glyph"),
        ({"data": "heldout", "features": "nowhere.keras"}, "a path without a file"),
        ({"data": "others", "features": CLASSIFIER}, "classes of the SavedModel, .* got 'cat'"),
        ({"data": "nowhere", "features": CLASSIFIER}, "expected .* got '.*nowhere'"),
        ({"data": "heldout", "features": CLASSIFIER, "resolution": 8}, "expected no --resolution"),
        (
            {"data": "heldout", "features": CLASSIFIER, "changes": {"standing_batches": 2}},
            "expected no --standing_batches",
        ),
        (
            {"data": "heldout", "features": CLASSIFIER, "changes": {"num_samples": 1}},
            "at least 2 generated samples, got 1",
        ),
        (
            {"data": "heldout", "features": CLASSIFIER, "changes": {"truncation": 1.5}},
            r"truncation in \(0, 1\], got 1.5",
        ),
    ],
)
def test_bad_requests_for_a_saved_model(root, values, message):
    if not (root / "others").exists():
        make_photos(root / "others", {"cat": 2}, size=(32, 32))
    if "data" in values:
        values = {**values, "data": str(root / values["data"])}
    with pytest.raises(InputError, match=message):
        score(request(root, model=str(root / "served"), **values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"features": "bundled:glyph_classifier"}, "none of which is a glyph"),
        ({"data": "x"}, "expected no --data: --real is the reference"),
        ({"changes": {"truncation": 0.5}}, "expected no --truncation: images are there already"),
        ({"changes": {"num_samples": 13}}, "at least 13 images to score for unnamed, got 12"),
        ({"protocol": "fid5k_heldout"}, "at least 5000 images to score for fid5k_heldout, got 12"),
        ({"metrics": ("intra_fid",), "real": "others"}, "every scored class .* got none of 'dog'"),
        ({"real": "nowhere"}, "a data spec or a directory of images"),
        ({"real": "large"}, r"or --resolution, got sides of 40 \(real\) and 32 \(fake\)"),
        ({"metrics": ("prdc",), "changes": {"num_samples": 4}}, "expected k in"),
    ],
)
def test_bad_requests_for_images(root, values, message):
    if not (root / "large").exists():
        (root / "large" / "a").mkdir(parents=True)
        Image.new("RGB", (40, 40)).save(root / "large" / "a" / "a.png")
    if not (root / "others").exists():
        make_photos(root / "others", {"cat": 2}, size=(32, 32))
    values = {"features": CLASSIFIER, **values}
    real = str(root / values.pop("real", "heldout"))
    with pytest.raises(InputError, match=message):
        score(request(root, real=real, fake=str(root / "photos"), **values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"classes": ("dog",)}, "expected no --classes: a run has its own classes"),
        ({"resolution": 8}, "expected no --resolution"),
        ({"protocol": "paper", "data": "x"}, "expected no --data: paper compares with"),
        ({"protocol": "fid"}, "expected a protocol out of run, "),
    ],
)
def test_bad_requests_for_a_run(root, values, message):
    with pytest.raises(InputError, match=message):
        score(request(root, workdir=str(root / "run"), checkpoint="last", **values))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "expected --workdir=<run>, or --model="),
        (["--workdir=a", "--model=b"], "got --workdir and --model"),
        (["--real=a"], "got --real"),
        (["--real=a", "--fake=b", "--metrics=psnr"], "--metrics must be of fid, kmmd, kid"),
        (["--workdir=a", "--protocol=fid"], "fid"),
        (["--workdir=a", "--labels=some"], "some"),
        (["--workdir=a", "--output=nowhere/a.json"], "--output must be a file in an existing"),
        (["--workdir=a", "--seed=-1"], "-1"),
    ],
)
def test_wrong_flags_end_with_one_line_and_status_2(arguments, expected):
    result = run("evaluate", *arguments, check=False)
    assert result.returncode == 2
    assert expected in result.stderr and len(result.stderr.strip().splitlines()) == 1


def test_input_errors_that_turn_up_later_have_status_2(tmp_path):
    result = run("evaluate", f"--workdir={tmp_path}", check=False)
    assert result.returncode == 2
    assert "expected a run of cgt-train" in result.stderr
    assert list(tmp_path.iterdir()) == []
