"""Data specs, on class folders, prepared datasets and small TFDS datasets made on the spot."""

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from cgt_tf.data import glyphs, sources, tfds_reader
from cgt_tf.data.folders import prepare_folder
from cgt_tf.data.sources import load_images, load_train_and_heldout
from cgt_tf.errors import InputError


class _Made(tfds.core.GeneratorBasedBuilder):
    """Base of the small datasets below; nothing is downloaded."""

    VERSION = tfds.core.Version("1.0.0")
    SKIP_REGISTERING = True
    url_infos = {}  # noqa: RUF012
    splits = {"train": {"x": 60, "y": 70}}  # noqa: RUF012
    features = {"image": tfds.features.Image(shape=(None, None, 1))}  # noqa: RUF012
    names = ("x", "y", "z")

    def _info(self):
        label = {"label": tfds.features.ClassLabel(names=self.names)}
        features = tfds.features.FeaturesDict({**self.features, **label})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(counts) for split, counts in self.splits.items()}

    def _generate_examples(self, counts):
        for name, count in counts.items():
            for index in range(count):
                image = np.full((8 + index % 3, 12, 1), index, np.uint8)
                yield f"{name}{index:03d}", {"image": image, "label": name}


class MadeGray(_Made):
    """Train split only; class z has no image."""


class MadeSplits(_Made):
    """A test split that lacks a class, and a validation split that does not."""

    names = ("x", "y")
    splits = {  # noqa: RUF012
        "train": {"x": 60, "y": 70},
        "test": {"x": 5},
        "validation": {"y": 3, "x": 4},
    }


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setenv("CGT_TF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "tfds"


@pytest.fixture
def tiny_glyphs(data_dir, monkeypatch):
    """The bundled builder with few images, so that it renders in no time."""
    for config in glyphs.CgtGlyphs.BUILDER_CONFIGS:
        monkeypatch.setattr(config, "train_per_class", 6)
        monkeypatch.setattr(config, "test_per_class", 3)


def write_folder(root, counts, side=8):
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for index in range(count):
            pixels = np.full((side, side, 3), index, np.uint8)
            Image.fromarray(pixels).save(root / name / f"{index:03d}.png")
    return str(root)


@pytest.mark.parametrize(
    ("spec", "name", "split"),
    [
        ("tfds:mnist", "mnist", None),
        ("tfds:mnist:3.0.1", "mnist:3.0.1", None),
        ("tfds:mnist/test", "mnist", "test"),
        ("tfds:mnist/train[:80%]", "mnist", "train[:80%]"),
        ("tfds:mnist:3.0.1/extra", "mnist:3.0.1", "extra"),
        ("tfds:emnist/letters", "emnist/letters", None),
        ("tfds:emnist/letters:3.0.0", "emnist/letters:3.0.0", None),
        ("tfds:emnist/letters/extra", "emnist/letters", "extra"),
        ("tfds:a/trainable", "a/trainable", None),
    ],
)
def test_tfds_specs(spec, name, split):
    assert sources._split_tfds_spec(spec) == (name, split)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("tfds:", "expected tfds:<name>"),
        ("tfds:a//b", "expected tfds:<name>"),
        ("tfds:a/b/c/d", "expected tfds:<name>"),
        ("tfds:cifr10", "close to cifar10"),
        ("tfds:mnist:9.9.9", "expected a TFDS dataset, got 'mnist:9.9.9'"),
        ("bundled:shapes", r"expected bundled:glyphs\["),
        ("bundled:glyphs/old", r"expected bundled:glyphs\["),
        ("no/such/folder", "or a prepared dataset, got 'no/such/folder'"),
        ("", "or a prepared dataset, got ''"),
    ],
)
def test_wrong_specs(data_dir, spec, message):
    with pytest.raises(InputError, match=message) as caught:
        load_images(spec, resolution=32)
    assert "\n" not in str(caught.value)


def test_not_prepared_and_no_network(data_dir, monkeypatch):
    def no_network(*args):
        raise OSError("no route to host")

    monkeypatch.setattr(tfds_reader, "_check_network", no_network)
    with pytest.raises(InputError, match=r"expected tfds:mnist prepared in .*no route to host"):
        load_images("tfds:mnist", resolution=32)
    assert not (data_dir / "mnist").exists()


def test_features_other_than_labelled_images(data_dir):
    with pytest.raises(InputError, match=r"found text \(Text\), label \(ClassLabel\)"):
        load_images("tfds:imdb_reviews", resolution=32)


def test_tfds_gray_images_of_many_sizes(data_dir):
    MadeGray(data_dir=str(data_dir)).download_and_prepare()
    whole = load_images("tfds:made_gray", resolution=16, classes=["y", "x"])
    assert whole.images.shape == (130, 16, 16, 3) and whole.counts == {"y": 70, "x": 60}
    values = whole.images[:, 8, 8]
    assert (values == values[:, :1]).all()
    assert sorted(values[whole.labels == 0, 0]) == list(range(70))
    with pytest.raises(InputError, match="found none of 'z'"):
        load_images("tfds:made_gray", resolution=16)


def test_only_chosen_images_are_read_and_they_are_the_draw_of_the_whole(data_dir, monkeypatch):
    MadeGray(data_dir=str(data_dir)).download_and_prepare()
    whole = load_images("tfds:made_gray:1.0.0", resolution=16, classes=["x", "y"])
    fitted = []
    fit = tfds_reader.decode.fit_pixels
    monkeypatch.setattr(
        tfds_reader.decode, "fit_pixels", lambda *args: fitted.append(0) or fit(*args)
    )
    few = load_images(
        "tfds:made_gray/train", resolution=16, classes=["x", "y"], images_per_class=4, seed=5
    )
    assert len(fitted) == 8
    assert few.fingerprint == whole.few_shot(4, 5)[0].fingerprint
    assert few.name == "tfds:made_gray/train, split train (4 per class, seed 5)"
    assert len(load_images("tfds:made_gray/train[:10]", resolution=16, classes=["x"])) <= 10


def test_unknown_split_lists_those_there_are(data_dir):
    MadeSplits(data_dir=str(data_dir)).download_and_prepare()
    for spec, split in (("tfds:made_splits", "extra"), ("tfds:made_splits:1.0.0/extra", None)):
        with pytest.raises(InputError, match=r"\(train, test, validation\), got 'extra'"):
            load_images(spec, resolution=8, split=split)
    with pytest.raises(InputError, match="expected split 'train', got the spec"):
        load_images("tfds:made_splits/test", resolution=8, split="train")


def test_heldout_is_the_first_split_with_every_class(data_dir):
    MadeSplits(data_dir=str(data_dir)).download_and_prepare()
    train, heldout = load_train_and_heldout("tfds:made_splits", resolution=8, images_per_class=5)
    assert train.counts == {"x": 5, "y": 5}
    assert heldout.name == "tfds:made_splits, split validation"
    assert heldout.class_names == train.class_names and heldout.counts == {"x": 4, "y": 3}
    _, heldout = load_train_and_heldout("tfds:made_splits", resolution=8, classes=["x"])
    assert heldout.name == "tfds:made_splits, split test"


def test_heldout_is_else_what_the_draw_left_over(data_dir, tmp_path):
    folder = write_folder(tmp_path / "images", {"a": 60, "b": 57})
    train, heldout = load_train_and_heldout(folder, resolution=8, images_per_class=7, seed=1)
    assert train.counts == {"a": 7, "b": 7} and heldout.counts == {"a": 53, "b": 50}
    whole = load_images(folder, resolution=8)
    assert heldout.fingerprint == whole.few_shot(7, 1)[1].fingerprint
    assert heldout.name.endswith("(without 7 per class, seed 1)")
    # One less than the smallest number left over that is worth a score.
    assert load_train_and_heldout(folder, resolution=8, images_per_class=8)[1] is None
    assert load_train_and_heldout(folder, resolution=8)[1] is None


def test_heldout_spec_is_matched_by_class_name(data_dir, tmp_path):
    folder = write_folder(tmp_path / "images", {"a": 3, "b": 4})
    other = write_folder(tmp_path / "other", {"0": 1, "b": 5, "a": 6})
    train, heldout = load_train_and_heldout(
        folder, resolution=8, classes=["b", "a"], heldout_spec=other
    )
    assert train.class_names == heldout.class_names == ("b", "a")
    assert heldout.counts == {"b": 5, "a": 6}
    lacking = write_folder(tmp_path / "lacking", {"a": 2, "c": 2})
    with pytest.raises(InputError, match="got 'b'"):
        load_train_and_heldout(folder, resolution=8, heldout_spec=lacking)


def test_folder_and_its_prepared_dataset_are_the_same_images(data_dir, tmp_path):
    folder = write_folder(tmp_path / "images", {"a": 3, "b": 4})
    done = prepare_folder(folder, 8, output_dir=tmp_path / "prepared", progress=False)
    prepared = load_images(str(done.path), resolution=8)
    assert prepared.fingerprint == load_images(folder, resolution=8).fingerprint
    assert load_images(str(done.path), resolution=16).images.shape == (7, 16, 16, 3)
    with pytest.raises(InputError, match=r"\(train\), got 'test'"):
        load_images(folder, resolution=8, split="test")


def test_skipped_files_of_a_folder_are_logged(data_dir, tmp_path, caplog):
    folder = write_folder(tmp_path / "images", {"a": 3, "b": 1})
    (tmp_path / "images" / "a" / "bad.png").write_bytes(b"")
    load_images(folder, resolution=8)
    assert "a/bad.png  empty file" in caplog.text and "class 'b' has 1 image" in caplog.text


def test_not_a_tfds_directory(tmp_path):
    (tmp_path / "features.json").write_text("{}")
    with pytest.raises(InputError, match="expected a prepared TFDS dataset"):
        load_images(str(tmp_path), resolution=8)


def test_bundled_glyphs(tiny_glyphs):
    train, heldout = load_train_and_heldout("bundled:glyphs", resolution=32, images_per_class=2)
    assert train.class_names == heldout.class_names == glyphs.TARGET_CLASSES
    assert set(train.counts.values()) == {2} and set(heldout.counts.values()) == {3}
    assert load_images("bundled:glyphs/target", resolution=32).images.shape[0] == 120


def test_bundled_subsets_together(tiny_glyphs):
    both = load_images("bundled:glyphs/all/test", resolution=32)
    assert both.class_names == glyphs.SOURCE_CLASSES + glyphs.TARGET_CLASSES
    assert set(both.counts.values()) == {3}
    names = (glyphs.TARGET_CLASSES[4], glyphs.SOURCE_CLASSES[7])
    two = load_images("bundled:glyphs/all", resolution=32, classes=names, split="test")
    assert two.fingerprint == both.select_classes(names).fingerprint
    target = load_images("bundled:glyphs", resolution=32, classes=names[:1], split="test")
    assert target.fingerprint == two.select_classes(names[:1]).fingerprint
