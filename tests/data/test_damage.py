"""Prepared data that was damaged afterwards: rebuilt in the cache, one clear error elsewhere."""

import json
import shutil
from pathlib import Path

import pytest
import tensorflow as tf
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from helpers import make_photos

from cgt_tf.data import glyphs, prepared
from cgt_tf.data.folders import prepare_folder
from cgt_tf.data.sources import load_images
from cgt_tf.errors import InputError

RECORDS = "cgt_folder-train.array_record-00000-of-00001"


@pytest.fixture
def photos(tmp_path):
    return make_photos(tmp_path / "photos", {"ape": 3, "bee": 3}, size=(16, 16))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-20])


def zero(path):
    path.write_bytes(bytes(path.stat().st_size))


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))


def remove(path):
    path.unlink()


def shorten(path):
    path.with_name("label.labels.txt").write_text("ape\n")


def nonsense(path):
    path.with_name("manifest.json").write_text('{"class_names": ["ape", 7]}')


DAMAGES = (truncate, zero, flip, remove, shorten, nonsense)


@pytest.mark.parametrize("harm", DAMAGES)
def test_the_cache_is_prepared_again(photos, tmp_path, harm, caplog):
    first = prepare_folder(photos, 16, cache_dir=tmp_path / "cache")
    expected = load_images(str(photos), resolution=16, cache_dir=tmp_path / "cache")
    harm(first.path / RECORDS)
    caplog.clear()
    again = load_images(str(photos), resolution=16, cache_dir=tmp_path / "cache")
    assert again.fingerprint == expected.fingerprint
    # A missing file is an entry that was never finished.
    assert harm is remove or "is prepared again" in caplog.text


@pytest.mark.parametrize("harm", DAMAGES)
def test_a_prepared_directory_is_refused(photos, tmp_path, harm):
    output = prepare_folder(photos, 16, output_dir=tmp_path / "out").path
    harm(output / RECORDS)
    with pytest.raises(InputError) as error:
        load_images(str(output), resolution=16)
    assert str(output) in str(error.value) or "manifest" in str(error.value)
    assert "\n" not in str(error.value)


def test_labels_out_of_range_are_no_other_class(photos, tmp_path):
    """Of a dataset that is not ours, which has no checksums."""
    output = prepare_folder(photos, 16, output_dir=tmp_path / "out").path
    (output / prepared.MANIFEST_NAME).unlink()
    records = ArrayRecordReader(str(output / RECORDS)).read_all()
    for wrong in (2, 2**40, -7):
        example = tf.train.Example.FromString(records[-1])
        example.features.feature["label"].int64_list.value[0] = wrong
        writer = ArrayRecordWriter(str(output / RECORDS), "group_size:1")
        for record in (*records[:-1], example.SerializeToString()):
            writer.write(record)
        writer.close()
        with pytest.raises(InputError, match=rf"expected labels of the 2 classes .* {wrong}"):
            load_images(str(output), resolution=16)


def test_a_dataset_with_fewer_records_than_it_says(photos, tmp_path):
    output = prepare_folder(photos, 16, output_dir=tmp_path / "out").path
    (output / prepared.MANIFEST_NAME).unlink()
    truncate(output / RECORDS)
    with pytest.raises(InputError, match="expected records of cgt_folder"):
        load_images(str(output), resolution=16)
    (output / RECORDS).write_bytes(b"")
    with pytest.raises(InputError, match=r"6 examples|expected records of cgt_folder"):
        load_images(str(output), resolution=16)


@pytest.mark.parametrize("level", ["parent", "classes", "mixed"])
def test_the_parent_of_the_class_folders_is_asked_about(photos, tmp_path, level, caplog):
    for name in ("source", "target"):
        shutil.copytree(photos, tmp_path / "both" / name)
    if level == "mixed":
        shutil.copy(photos / "ape" / "0.png", tmp_path / "both" / "source")
    given = photos if level == "classes" else tmp_path / "both"
    prepare_folder(given, 16, cache_dir=tmp_path / "cache")
    assert ("are these the classes?" in caplog.text) == (level == "parent")


def test_glyphs_are_rendered_again(tmp_path, monkeypatch, caplog):
    config = glyphs.CgtGlyphs.builder_configs["target"]
    monkeypatch.setattr(config, "train_per_class", 2)
    monkeypatch.setattr(config, "test_per_class", 1)
    directory = Path(glyphs.prepare("target", tmp_path).data_dir)
    before = json.loads((directory / prepared.CHECKSUMS_NAME).read_text())
    flip(next(directory.glob("*.tfrecord*")))
    glyphs.prepare("target", tmp_path)
    assert "is rendered again" in caplog.text
    assert prepared.damage(directory, before) is None
