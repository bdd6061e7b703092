"""A stranger's session on a tiny scale: source, transfer, scores, samples, SavedModel."""

import json
import re

import numpy as np
import pytest
from helpers import make_feature_net, make_photos
from in_process import invoke, run
from PIL import Image

SIZE = "--config.model.g_widths=8,4,4,4 --config.model.d_widths=4,4,8 --config.model.dim_z=8"
QUICK = (
    "--config.training.steps=2 --config.training.batch_size=4 --config.training.log_every=1 "
    "--config.evaluation.every=2 --config.evaluation.num_samples=8"
)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Runs every command once; returns the directory and what they printed."""
    root = tmp_path_factory.mktemp("session")
    make_photos(root / "source_photos", {"ape": 4, "bee": 4, "cat": 4})
    make_photos(root / "photos", {"dog": 6, "emu": 6})
    make_photos(root / "more_photos", {"fox": 4})
    make_feature_net(root / "features.keras")
    common = f"--config.evaluation.features={root}/features.keras --config.data.cache_dir={root}/c"
    source = [
        *f"--config.method.name=scratch --config.data.train={root}/source_photos".split(),
        *f"{SIZE} {QUICK} {common} --workdir={root}/source".split(),
    ]
    transfer = [
        *f"--config.source=model:{root}/model --config.data.train={root}/photos".split(),
        *f"{QUICK} {common} --workdir={root}/run".split(),
    ]
    out = {"source": run("train", *source).stdout}
    run("export", f"--workdir={root}/source", "--format=native", f"--output={root}/model")
    out["dry_run"] = run("train", *transfer, "--dry_run", "--verbosity=1").stdout
    assert not (root / "run").exists()
    out["train"] = run("train", *transfer).stdout
    # A finished run needs its source for nothing.
    (root / "model").rename(root / "gone")
    (root / "source").rename(root / "gone_too")
    out["evaluate"] = run("evaluate", f"--workdir={root}/run", "--checkpoint=last").stdout
    served = (f"--output={root}/served", "--checkpoint=last", "--weights_licence=CC0-1.0")
    out["export"] = run("export", f"--workdir={root}/run", *served).stdout
    for name, model in (("run", f"{root}/run"), ("served", f"{root}/served")):
        run(
            "sample",
            f"--model={model}",
            "--classes=dog,ape",
            "--columns=2",
            "--checkpoint=last",
            f"--output={root}/{name}.png",
        )
    again = "--config.training.steps=1 --config.training.batch_size=4 --config.evaluation.every=0"
    out["again"] = run(
        "train",
        f"--config.source=run:{root}/run",
        f"--config.data.train={root}/more_photos",
        f"--config.data.cache_dir={root}/c",
        f"--workdir={root}/again",
        *again.split(),
    ).stdout
    (root / "gone").rename(root / "model")
    (root / "gone_too").rename(root / "source")
    return root, out


def test_dry_run_prints_class_map_estimate_counts_and_config(session):
    _, out = session
    text = out["dry_run"]
    assert text.splitlines()[:5] == [
        "class map of 2 new classes:",
        "  dog -> 6 images, label 3",
        "  emu -> 6 images, label 4",
        "  old classes: 3, which keep the labels 0 to 2",
        "estimate:",
    ]
    assert re.search(r"  time: 2 steps of [\d.]+ s, \d+ s until the first: ", text)
    assert json.loads(text[text.index("\n{") :])["method"]["name"] == "cgan_transfer"
    assert "generator:" in text
    assert "frozen" in text
    # Scales and shifts of norms with 8, 4, 4, 4, 4 and 4 channels.
    assert "export: 3 old classes, which stay as they are, and 2 new, 56 parameters each" in text


def test_a_run_is_a_source_after_its_own_source_is_gone(session):
    _, out = session
    assert "export: 5 old classes, which stay as they are, and 1 new" in out["again"]


def test_stats_hold_losses_and_scores(session):
    root, _ = session
    lines = (root / "run" / "stats.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert [r["step"] for r in records if "fid" in r] == [0, 2]
    assert [r["step"] for r in records if "discriminator_loss" in r] == [1, 2]
    assert all(np.isfinite(r["fid"]) for r in records if "fid" in r)


def test_evaluation_says_what_the_number_depends_on(session):
    root, out = session
    result = json.loads((root / "run" / "eval.json").read_text(encoding="utf-8"))
    assert result["checkpoint_step"] == 2
    assert result["num_fake"] == 8
    assert result["reference"]["split"] == "train"
    assert "features.keras" in out["evaluate"] or "features" in out["evaluate"]


def test_run_and_saved_model_give_the_same_picture(session):
    root, _ = session
    pictures = [np.asarray(Image.open(root / f"{name}.png"), int) for name in ("run", "served")]
    assert pictures[0].shape == pictures[1].shape
    assert np.abs(pictures[0] - pictures[1]).max() <= 1


def test_an_export_comes_with_a_kit_and_a_card_of_its_run(session):
    root, out = session
    card = json.loads((root / "served" / "1" / "model_card.json").read_text(encoding="utf-8"))
    assert card["class_names"] == ["ape", "bee", "cat", "dog", "emu"]
    assert card["data"] == {"train": "photos", "new_classes": {"dog": 6, "emu": 6}}
    assert card["method"]["source"] == "model:model"
    assert card["scores"]["num_fake"] == 8 and np.isfinite(card["scores"]["metrics"]["fid"])
    assert card["licence"] == {"weights": "CC0-1.0", "data": "unknown"}
    native = json.loads((root / "model" / "model_card.json").read_text(encoding="utf-8"))
    assert native["class_names"] == ["ape", "bee", "cat"]
    assert native["method"]["name"] == "scratch"
    assert native["milliseconds_per_image"]["batch_8"] > 0
    for written, directory in ((card, root / "served" / "1"), (native, root / "model")):
        found = written["nearest_neighbours"]
        assert (found["file"], found["generated_images"]) == ("nearest.png", 256)
        assert found["features"] == "features.keras" and found["nearest"] > 0
        assert Image.open(directory / found["file"]).width > 5 * 96
    # What --dry_run counts for each class, in float32.
    assert card["bytes_per_class"] == 4 * 56
    assert (root / "served" / "serving" / "docker-compose.yml").is_file()
    warm_up = root / "served" / "1" / "assets.extra" / "tf_serving_warmup_requests"
    assert warm_up.is_file() != ("no warm-up requests" in out["export"])
    written = [*(root / "served" / "serving").iterdir(), root / "served" / "1" / "model_card.json"]
    assert not any(str(root) in path.read_text(encoding="utf-8") for path in written)


def test_bad_input_of_a_method_is_found_before_anything_is_written(session):
    root, _ = session
    result = run(
        "train",
        f"--config.source=model:{root}/model",
        f"--config.data.train={root}/photos",
        f"--config.data.cache_dir={root}/c",
        "--config.evaluation.every=0",
        "--config.method.name=bsa",
        f"--config.bsa.perceptual_net={root}/none.keras",
        f"--workdir={root}/bsa",
        check=False,
    )
    assert result.returncode == 2
    assert "none.keras" in result.stderr.splitlines()[-1]
    assert not (root / "bsa").exists()


def test_resuming_a_finished_run_changes_nothing(session):
    root, _ = session
    before = (root / "run" / "stats.jsonl").read_bytes()
    config = json.loads((root / "run" / "config.json").read_text(encoding="utf-8"))["config"]
    assert config["source"] == f"model:{root}/model"
    result = run(
        "train",
        f"--config.source={config['source']}",
        f"--config.data.train={root}/photos",
        *QUICK.split(),
        f"--config.evaluation.features={root}/features.keras",
        f"--config.data.cache_dir={root}/c",
        f"--workdir={root}/run",
    )
    assert result.returncode == 0
    assert (root / "run" / "stats.jsonl").read_bytes() == before


def test_an_export_in_fewer_bits_says_what_that_does_to_images(session, tmp_path, capsys):
    root, _ = session
    export = ("export", f"--workdir={root}/run", "--checkpoint=last", "--precision=bfloat16")
    export = (*export, "--nonearest", f"--output={tmp_path}/served")
    assert invoke(*export) == 0
    out = capsys.readouterr().out
    assert re.search(r"stored in bfloat16, .* images move by at most \d+\.\d\d of 255 grey", out)
    found = re.search(r"^FID of 8 images: (\S+) in float32, (\S+) as stored$", out, re.MULTILINE)
    before, after = map(float, found.groups())
    assert before != after
    assert after == pytest.approx(before, rel=0.1)
    # The export stands, whatever has become of what it would be compared with.
    (root / "photos").rename(root / "moved")
    try:
        assert invoke(*export) == 0
    finally:
        (root / "moved").rename(root / "photos")
    assert "FID not measured: " in capsys.readouterr().out
    assert (tmp_path / "served" / "2" / "saved_model.pb").exists()


def test_an_export_without_its_images_says_so_in_the_card(session, tmp_path):
    root, _ = session
    (root / "photos").rename(root / "photos_gone")
    try:
        export = ("export", f"--workdir={root}/run", "--checkpoint=last", "--format=native")
        assert invoke(*export, f"--output={tmp_path}/gone") == 0
    finally:
        (root / "photos_gone").rename(root / "photos")
    assert invoke(*export, f"--output={tmp_path}/not", "--nonearest") == 0
    reasons = []
    for name in ("gone", "not"):
        assert not (tmp_path / name / "nearest.png").exists()
        text = (tmp_path / name / "model_card.json").read_text(encoding="utf-8")
        reasons.append(json.loads(text)["nearest_neighbours"]["skipped"])
    assert "photos" in reasons[0] and str(root) not in reasons[0]
    assert reasons[1] == "it was not asked for"


def test_an_export_as_one_file_says_how_far_it_is_off(session, tmp_path):
    root, _ = session
    export = ("export", f"--workdir={root}/run", "--checkpoint=last", "--format=tflite")
    out = run(*export, f"--output={tmp_path}/lite", "--nonearest").stdout
    assert re.search(
        r"^32 images are at most \S+ of 255 grey levels off the SavedModel's$", out, re.M
    )
    assert f"5 classes, written to {tmp_path}/lite" in out
    written = json.loads((tmp_path / "lite" / "model_card.json").read_text(encoding="utf-8"))
    assert written["method"]["name"] == "cgan_transfer"
    assert (tmp_path / "lite" / "model.tflite").stat().st_size > 10_000
