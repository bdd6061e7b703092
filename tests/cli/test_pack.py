"""cgt-pack: from a run to a file, and into native and served models."""

import numpy as np
import pytest
from helpers import make_photos, make_source
from in_process import invoke

from cgt_tf.errors import InputError
from cgt_tf.export import packing
from cgt_tf.export.sampler import open_sampler
from cgt_tf.formats import packs


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two runs of one step from one source, and a pack of the second."""
    place = tmp_path_factory.mktemp("pack")
    make_photos(place / "photos", {"dog": 2, "emu": 2, "fox": 2})
    source = make_source(place / "source")
    for name, classes in (("first", "dog"), ("second", "emu,fox")):
        status = invoke(
            "train",
            f"--config.source={source}",
            f"--config.data.train={place}/photos",
            f"--config.data.classes={classes}",
            f"--config.data.cache_dir={place}/cache",
            *("--config.training.steps=1", "--config.training.batch_size=2"),
            *("--config.evaluation.every=0", f"--workdir={place}/{name}"),
        )
        assert status == 0
    extract = ("extract", f"--workdir={place}/second", "--licence=CC0-1.0")
    assert invoke("pack", *extract, f"--output={place}/new.cgtpack") == 0
    return place


def pictures(model, name):
    """Eight images of a class, of seeds 0 to 7."""
    sampler = open_sampler(str(model), "best")
    label = list(sampler.class_names).index(name)
    return sampler.sample(np.full(8, label), np.arange(8), 1.0).astype(int)


def test_a_pack_of_one_run_is_served_with_the_classes_of_another(place, tmp_path, capsys):
    model = (f"--model=run:{place}/first", f"--packs={place}/new.cgtpack")
    served = tmp_path / "served"
    for version in (1, 2):
        assert invoke("pack", "add", *model, "--format=saved_model", f"--output={served}") == 0
        assert f"written to {served}/{version}" in capsys.readouterr().out
    assert list(open_sampler(str(served), "best").class_names[-3:]) == ["dog", "emu", "fox"]
    for name, run in (("emu", "second"), ("dog", "first"), ("A", "first")):
        # Graphs that were saved round otherwise: here and there a pixel moves by one grey level.
        assert np.abs(pictures(served, name) - pictures(place / run, name)).max() <= 1


def test_models_with_packs_have_two_forms(place, tmp_path):
    with pytest.raises(InputError, match="a form out of native, saved_model, got 'tflite'"):
        packing.add(f"model:{place}/source", [place / "new.cgtpack"], f"{tmp_path}/new", "tflite")
    assert list(tmp_path.iterdir()) == []


def test_classes_are_added_and_removed_and_listed(place, tmp_path, capsys):
    file, joined = f"{place}/new.cgtpack", tmp_path / "joined"
    source = f"model:{place}/source"
    assert invoke("pack", "add", f"--model={source}", f"--packs={file}", f"--output={joined}") == 0
    np.testing.assert_array_equal(
        pictures(f"model:{joined}", "fox"), pictures(place / "second", "fox")
    )
    np.testing.assert_array_equal(pictures(f"model:{joined}", "A"), pictures(source, "A"))
    less = tmp_path / "less"
    remove = ("--classes=emu", f"--output={less}")
    assert invoke("pack", "remove", f"--model=model:{joined}", *remove) == 0
    capsys.readouterr()
    assert invoke("pack", "list", f"--model=model:{less}", f"--packs={file}") == 0
    lines = capsys.readouterr().out.splitlines()
    fingerprint = packs.read(place / "new.cgtpack").fingerprint[:16]
    assert lines[:3] == [
        "2 classes: emu, fox",
        f"of a source with the fingerprint {fingerprint}",
        "128 bytes a class, licence CC0-1.0",
    ]
    assert lines[-1] == "1 added: fox" and f"source fingerprint {fingerprint}" in lines
    facts = packs.read(place / "new.cgtpack").facts
    assert facts["data"]["new_classes"] == {"emu": 2, "fox": 2}
    assert str(place) not in str(facts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected one of extract, add, remove, list, got None"),
        (["join"], "expected one of extract, add, remove, list, got join"),
        (["list", "more"], "got list more"),
        (["list"], "expected --model="),
        (["extract", "--output=a.cgtpack"], "expected --workdir="),
        (["extract", "--workdir={place}/first", "--output=a.zip"], "--output to end in .cgtpack"),
        (["extract", "--workdir=nowhere", "--output=a.cgtpack"], "expected a run of cgt-train"),
        (
            ["extract", "--workdir={place}/first", "--classes=cat", "--output=a.cgtpack"],
            "got 'cat'",
        ),
        (["add", "--model=bundled:glyphs32", "--output=a"], "expected --packs="),
        (["remove", "--model=bundled:glyphs32", "--output=a"], "expected --classes="),
        (
            ["add", "--model=bundled:glyphs32", "--packs=nowhere.cgtpack", "--output=a"],
            "expected a class pack, got nowhere.cgtpack",
        ),
        (
            ["add", "--model=bundled:cifar80", "--packs={place}/new.cgtpack", "--output=a"],
            "expected a pack of the model's source, fingerprint",
        ),
        (
            ["remove", "--model=model:{place}/source", "--classes=A", "--output=a"],
            "got 'A' of the source",
        ),
    ],
)
def test_wrong_commands_end_with_one_line_and_write_nothing(
    place, tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert invoke("pack", *(argument.format(place=place) for argument in arguments)) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("cgt-")]
    assert line.startswith("cgt-pack: error: ") and message in line
    assert list(tmp_path.iterdir()) == []
