"""Two sides of images at one size: class folders, flat folders, and what is refused."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from cgt_tf.data import sources
from cgt_tf.data.image_specs import FLAT_CLASS, load, load_pair, native_resolution
from cgt_tf.errors import InputError


def write(directory, count=3, size=(16, 16), seed=0):
    directory.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (count, *size, 3), np.uint8)
    for index, image in enumerate(pixels):
        Image.fromarray(image).save(directory / f"{index}.png")
    return pixels


def test_class_folders_and_a_flat_folder_are_read_as_they_are(tmp_path):
    dog, emu = write(tmp_path / "real" / "dog"), write(tmp_path / "real" / "emu", seed=1)
    flat = write(tmp_path / "flat", 4, seed=2)
    (tmp_path / "flat" / "notes.txt").write_text("no image")
    real, fake = load_pair(str(tmp_path / "real"), str(tmp_path / "flat"), cache_dir=tmp_path / "c")
    np.testing.assert_array_equal(real.images, np.concatenate([dog, emu]))
    assert real.class_names == ("dog", "emu")
    np.testing.assert_array_equal(fake.images, flat)
    assert fake.class_names == (FLAT_CLASS,) and fake.labels.tolist() == [0] * 4
    both = load_pair(str(tmp_path / "flat"), str(tmp_path / "flat"))
    assert both[0].fingerprint == both[1].fingerprint


def test_a_resolution_brings_both_sides_to_it(tmp_path):
    write(tmp_path / "large", size=(20, 24))
    write(tmp_path / "small")
    sides = load_pair(str(tmp_path / "large"), str(tmp_path / "small"), resolution=8)
    assert [side.images.shape for side in sides] == [(3, 8, 8, 3)] * 2


@pytest.fixture
def dataset(monkeypatch):
    """Gives the TFDS dataset that is opened next images of some shape."""

    def of_shape(*shape):
        features = {"image": SimpleNamespace(shape=shape), "label": SimpleNamespace(shape=())}
        builder = SimpleNamespace(info=SimpleNamespace(features=features))
        monkeypatch.setattr(sources.tfds_reader, "open_named", lambda name: builder)

    return of_shape


def test_native_resolutions(tmp_path, dataset):
    write(tmp_path / "a" / "b", size=(24, 24))
    assert native_resolution(str(tmp_path / "a")) == 24
    assert native_resolution("bundled:glyphs/target") == 32
    for shape, side in (((28, 28, 1), 28), ((None, None, 3), 0), ((28, 20, 3), 0)):
        dataset(*shape)
        assert native_resolution("tfds:mnist/test") == side


def test_sizes_that_differ_are_input_errors(tmp_path, dataset):
    write(tmp_path / "one"), write(tmp_path / "two", size=(24, 24))
    write(tmp_path / "oblong", size=(16, 20)), write(tmp_path / "mixed")
    write(tmp_path / "mixed", 1, size=(8, 8))
    one = str(tmp_path / "one")
    with pytest.raises(
        InputError, match=r"or --resolution, got sides of 16 \(real\) and 24 \(fake"
    ):
        load_pair(one, str(tmp_path / "two"))
    with pytest.raises(InputError, match=r"one size in .*, or --resolution, got 20x16 \(0.png\)"):
        load_pair(str(tmp_path / "oblong"), one)
    with pytest.raises(InputError, match=r"got 8x8 \(0.png\), 16x16 \(1.png\)"):
        load_pair(one, str(tmp_path / "mixed"))
    dataset(None, None, 3)
    with pytest.raises(InputError, match=r"sides of unknown \(real\) and unknown \(fake\)"):
        load_pair("tfds:mnist", "tfds:mnist")


def test_a_prepared_dataset_knows_its_size(tmp_path):
    from cgt_tf.data.folders import prepare_folder

    write(tmp_path / "photos" / "dog", size=(20, 20))
    prepared = prepare_folder(tmp_path / "photos", 12, output_dir=tmp_path / "prepared")
    assert native_resolution(str(prepared.path)) == 12


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nowhere", "a data spec or a directory of images, got 'nowhere'"),
        ("empty", "one folder per class in empty"),
        ("broken", "at least 1 usable image in broken"),
        ("hollow", "at least 1 usable image in every class, class 'void' has none"),
    ],
)
def test_missing_and_empty_folders_are_input_errors(tmp_path, monkeypatch, spec, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "good")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_text("no picture")
    write(tmp_path / "hollow" / "dog")
    (tmp_path / "hollow" / "void").mkdir()
    with pytest.raises(InputError, match=message):
        load_pair(
            spec, "good", cache_dir=tmp_path / "cache", resolution=0 if spec != "broken" else 8
        )


def test_classes_are_of_class_folders_only(tmp_path):
    write(tmp_path / "flat")
    write(tmp_path / "real" / "dog"), write(tmp_path / "real" / "emu")
    chosen = load(str(tmp_path / "real"), 16, classes=("emu",), cache_dir=tmp_path / "cache")
    assert chosen.class_names == ("emu",) and len(chosen) == 3
    with pytest.raises(InputError, match=r"class folders for the classes \['emu'\]"):
        load(str(tmp_path / "flat"), 16, classes=("emu",))


def test_a_large_flat_folder_stays_on_disk(tmp_path, caplog):
    write(tmp_path / "flat", 12, (20, 24))
    (tmp_path / "flat" / "3.png").write_bytes(b"damaged")
    flat, cache = str(tmp_path / "flat"), tmp_path / "cache"
    in_memory = load(flat, 8, cache_dir=cache)
    assert isinstance(in_memory.images, np.ndarray) and not cache.exists()
    on_disk = load(flat, 8, cache_dir=cache, memory_gb=0)
    assert not isinstance(on_disk.images, np.ndarray)
    assert len(on_disk) == 11 and on_disk.name == in_memory.name
    assert on_disk.fingerprint == in_memory.fingerprint
    assert caplog.text.count("3.png") == 2
