"""cgt-sample on a run, its SavedModel and a source: pictures, folders, and what each has not."""

import json

import numpy as np
import pytest
from helpers import make_photos, make_source
from in_process import contents, invoke
from PIL import Image

from cgt_tf.export.sampler import open_sampler


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run of one step with two new classes, its SavedModel, and a run without pseudo-classes."""
    place = tmp_path_factory.mktemp("sample")
    make_photos(place / "photos", {"dog": 2, "emu": 2})
    source = make_source(place / "source")
    for name, method in (("run", "cgan_transfer"), ("plain", "bsa_adv")):
        status = invoke(
            "train",
            f"--config.source={source}",
            f"--config.method.name={method}",
            f"--config.data.train={place}/photos",
            f"--config.data.cache_dir={place}/cache",
            *("--config.training.steps=1", "--config.training.batch_size=2"),
            *("--config.evaluation.every=0", f"--workdir={place}/{name}"),
        )
        assert status == 0
    export = ("export", f"--workdir={place}/run", f"--output={place}/served", "--nearest=False")
    assert invoke(*export) == 0
    return place


def images_of(place, model, tmp_path, *arguments):
    """Single images and what is said of them."""
    output = tmp_path / f"{model}_{len(list(tmp_path.iterdir()))}"
    handle = model if ":" in model else f"{place}/{model}"
    assert invoke("sample", f"--model={handle}", f"--output={output}", *arguments) == 0
    lines = [json.loads(line) for line in (output / "manifest.jsonl").open(encoding="utf-8")]
    return np.stack([np.asarray(Image.open(output / line["file"]), int) for line in lines]), lines


def of_class(place, name, seeds, truncation=1.0):
    sampler = open_sampler(f"{place}/run", "best")
    label = list(sampler.class_names).index(name)
    seeds = np.array(seeds)
    return sampler.sample(np.full(len(seeds), label), seeds, truncation).astype(int)


def same(images, others):
    return np.abs(images - others).max() <= 1


def test_rows_run_from_one_class_to_another(place, tmp_path):
    options = ("--interpolate=dog,A", "--columns=3", "--rows=2", "--seed=4", "--truncation=0.5")
    images, lines = images_of(place, "run", tmp_path, *options)
    assert [line["seed"] for line in lines] == [4, 4, 4, 5, 5, 5]
    assert [line["weights"]["A"] for line in lines] == [0.0, 0.5, 1.0] * 2
    assert [line["row"] for line in lines[::3]] == ["dog → A, 4", "dog → A, 5"]
    assert same(images[::3], of_class(place, "dog", [4, 5], 0.5))
    assert same(images[2::3], of_class(place, "A", [4, 5], 0.5))
    assert not same(images[1], images[0]) and not same(images[1], images[2])
    served, again = images_of(place, "served", tmp_path, *options)
    assert again == lines and same(served, images)


def test_mixtures_are_those_of_the_signature(place, tmp_path):
    options = ("--mix=dog:0.7,A:0.6", "--columns=2")
    images, lines = images_of(place, "run", tmp_path, *options)
    served, _ = images_of(place, "served", tmp_path, *options)
    assert lines[1]["weights"] == {"dog": 0.7, "A": 0.6} and same(served, images)
    halves, _ = images_of(place, "run", tmp_path, "--mix=dog:0.35,A:0.3", "--columns=2")
    assert not same(halves, images)


def test_a_strip_is_of_one_truncation(place, tmp_path):
    options = ("--truncations=0.4,1", "--classes=emu", "--columns=2")
    images, lines = images_of(place, "served", tmp_path, *options)
    assert [line["row"] for line in lines] == ["emu 0.4"] * 2 + ["emu 1"] * 2
    for part, truncation in ((images[:2], 0.4), (images[2:], 1.0)):
        assert same(part, of_class(place, "emu", [0, 1], truncation))


def test_layers_lead_from_an_old_class_to_the_new_one(place, tmp_path):
    images, lines = images_of(place, f"run:{place}/run", tmp_path, "--layers", "--seed=3")
    assert [line["layers"] for line in lines] == [*range(3)] * 2
    assert [line["class"] for line in lines] == ["dog"] * 3 + ["emu"] * 3
    assert same(images[[2]], of_class(place, "dog", [3]))
    assert same(images[[3]], of_class(place, lines[3]["old_class"], [3]))
    assert not same(images[3], images[5])


def test_pseudo_classes_are_near_their_old_classes_after_one_step(place, tmp_path):
    options = ("--pseudo_classes", "--classes=B,A", "--columns=2")
    images, lines = images_of(place, "run", tmp_path, *options)
    assert [(line["class"], line["pseudo_class"]) for line in lines[::2]] == [("B", 1), ("A", 0)]
    for part, own, other in ((images[:2], "B", "A"), (images[2:], "A", "B")):
        near, far = (np.abs(part - of_class(place, n, [0, 1])).mean() for n in (own, other))
        assert near < far / 2


def test_a_picture_is_a_row_of_names_and_images(place, tmp_path):
    arguments = (f"--model={place}/run", "--columns=3", "--scale=1")
    assert invoke("sample", *arguments, f"--output={tmp_path}/a.png") == 0
    picture = Image.open(tmp_path / "a.png")
    assert picture.height == 2 + 2 * 10 and picture.width > 3 * 10


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("served", ["--pseudo_classes"], "expected a run with --pseudo_classes"),
        ("bundled:glyphs32", ["--layers"], "expected a run with --layers"),
        ("plain", ["--pseudo_classes"], "expected a run that learns pseudo-classes"),
        ("plain", ["--layers"], "expected a run that has learnt scores of all old classes"),
        ("run", ["--pseudo_classes", "--classes=dog"], "expected pseudo-classes out of 5"),
        ("run", ["--layers", "--classes=A"], "classes that the run has learnt (dog, emu), got"),
        ("run", ["--mix=dog:1,cow:1"], "got 'cow'"),
        ("served", ["--interpolate=dog,cow"], "got 'cow'"),
        ("run", ["--mix=dog:1", "--layers"], "expected one kind of picture"),
    ],
)
def test_what_a_model_has_not_ends_with_one_line(
    place, tmp_path, capsys, model, arguments, message
):
    handle = model if ":" in model else f"{place}/{model}"
    before = contents(tmp_path)
    capsys.readouterr()
    assert invoke("sample", f"--model={handle}", f"--output={tmp_path}/new", *arguments) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("cgt-")]
    assert line.startswith("cgt-sample: error: ") and message in line
    assert contents(tmp_path) == before


def test_a_folder_with_something_in_it_is_left_alone(place, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("x")
    assert invoke("sample", f"--model={place}/run", f"--output={tmp_path}") == 2
    assert "new or empty directory" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
