"""Sets above the memory limit are read from disk by index: the images and batches of memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from cgt_tf.data import (
    converted,
    glyphs,
    image_set,
    pipeline,
    prepared,
    records,
    tfds_reader,
)
from cgt_tf.data.folders import prepare_folder
from cgt_tf.data.image_set import ImageSet
from cgt_tf.data.sources import load_images, load_train_and_heldout
from cgt_tf.errors import InputError


class MadeColour(tfds.core.GeneratorBasedBuilder):
    """Random images of several sizes, in the shuffled order that TFDS stores them in."""

    VERSION = tfds.core.Version("1.0.0")
    SKIP_REGISTERING = True
    url_infos = {}  # noqa: RUF012
    counts = {"train": 40, "test": 9}  # noqa: RUF012

    def _info(self):
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3)),
                "label": tfds.features.ClassLabel(names=["x", "y", "z"]),
            }
        )
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in self.counts}

    def _generate_examples(self, split):
        random = np.random.default_rng(len(split))
        for index in range(self.counts[split]):
            image = random.integers(0, 256, (12 + index % 3, 14, 3), np.uint8)
            yield f"{index:03d}", {"image": image, "label": "xyz"[index % 3]}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setenv("CGT_TF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """So small that the sets here are several."""
    monkeypatch.setattr(image_set, "_CHUNK", 16)
    monkeypatch.setattr(records, "_CHUNK", 5)


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    for name, count in {"ape": 31, "bee": 12}.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(count):
            pixels = random.integers(0, 256, (10, 8, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{index:02d}.png")
    return tmp_path / "photos"


def make_folder(tmp_path, monkeypatch):
    return str(tmp_path / "photos")


def make_prepared(tmp_path, monkeypatch):
    done = prepare_folder(tmp_path / "photos", 8, output_dir=tmp_path / "out", progress=False)
    return str(done.path)


def make_prepared_at_another_size(tmp_path, monkeypatch):
    done = prepare_folder(tmp_path / "photos", 16, output_dir=tmp_path / "out", progress=False)
    return str(done.path)


def make_tfds(tmp_path, monkeypatch):
    MadeColour(data_dir=str(tmp_path / "tfds")).download_and_prepare()
    return "tfds:made_colour"


def make_tfds_slice(tmp_path, monkeypatch):
    return make_tfds(tmp_path, monkeypatch) + "/train[25%:]"


def make_tfds_array_record(tmp_path, monkeypatch):
    builder = MadeColour(data_dir=str(tmp_path / "tfds"), file_format="array_record")
    builder.download_and_prepare()
    return str(builder.data_dir)


def make_two_datasets(tmp_path, monkeypatch):
    for config in glyphs.CgtGlyphs.BUILDER_CONFIGS:
        monkeypatch.setattr(config, "train_per_class", 2)
        monkeypatch.setattr(config, "test_per_class", 1)
    return "bundled:glyphs/all"


SOURCES = [
    *(make_folder, make_prepared, make_prepared_at_another_size),
    *(make_tfds, make_tfds_slice, make_tfds_array_record, make_two_datasets),
]


def both(spec, **options):
    """The images of a spec in memory and on disk."""
    in_memory = load_images(spec, resolution=8, **options)
    on_disk = load_images(spec, resolution=8, memory_gb=0, **options)
    assert isinstance(in_memory.images, np.ndarray)
    assert isinstance(on_disk.images, records.RecordImages)
    return in_memory, on_disk


def take(dataset, count):
    return [[part.numpy() for part in batch] for batch in dataset.take(count)]


def assert_same_batches(first, second):
    for batch, expected in zip(first, second, strict=True):
        for part, other in zip(batch, expected, strict=True):
            np.testing.assert_array_equal(part, other)


@pytest.mark.parametrize("make", SOURCES)
def test_images_and_batches_are_those_of_memory(cache, folder, tmp_path, monkeypatch, make):
    spec = make(tmp_path, monkeypatch)
    in_memory, on_disk = both(spec)
    assert on_disk.images.shape == in_memory.images.shape and len(on_disk) == len(in_memory)
    np.testing.assert_array_equal(on_disk.images[:], in_memory.images)
    np.testing.assert_array_equal(on_disk.labels, in_memory.labels)
    assert on_disk.class_names == in_memory.class_names and on_disk.name == in_memory.name
    assert on_disk.fingerprint == in_memory.fingerprint
    assert on_disk.class_digests == in_memory.class_digests
    whole = (in_memory, on_disk)
    for pair in (whole, [images.select_classes(images.class_names[1:]) for images in whole]):
        streams = [
            take(pipeline.index_stream(images, 7, seed=3, start_batch=11, flip=True), 6)
            for images in pair
        ]
        assert_same_batches(*streams)
    assert len(np.unique(streams[0][0][0])) > 10  # Not all black.


def test_several_hosts_read_their_share(cache, folder):
    class TwoHosts:
        num_replicas_in_sync = 4

        def distribute_datasets_from_function(self, function):
            contexts = [tf.distribute.InputContext(2, host, 4) for host in range(2)]
            return [function(context) for context in contexts]

    hosts = [
        pipeline.distributed_batches(TwoHosts(), images, 12, 3, start_batch=4, flip=True)
        for images in both(str(folder))
    ]
    for in_memory, on_disk in zip(*hosts, strict=True):
        assert_same_batches(take(in_memory, 6), take(on_disk, 6))


def test_indexing_is_as_an_array_is_indexed(cache, folder):
    in_memory, on_disk = (images.images for images in both(str(folder)))
    mask = np.arange(len(in_memory)) % 3 == 1
    keys = (5, -1, np.int64(7), slice(3, 20, 4), slice(0, 0), mask, np.array([8, 8, -2, 0]))
    for key in keys:
        np.testing.assert_array_equal(on_disk[key], in_memory[key])
    chosen = on_disk.select(mask)
    np.testing.assert_array_equal(chosen[np.array([2, 0])], in_memory[mask][[2, 0]])
    np.testing.assert_array_equal(np.asarray(on_disk), in_memory)
    for outside in (len(in_memory), np.array([0, len(in_memory)])):
        with pytest.raises(IndexError):
            on_disk[outside]


def test_choices_read_no_image(cache, folder, monkeypatch):
    in_memory, on_disk = both(str(folder))
    monkeypatch.setattr(records, "read", None)
    chosen = on_disk.select_classes(["bee"]).without_labels()
    parts = [
        chosen.subset(np.arange(3), "three"),
        load_images(str(folder), resolution=8, memory_gb=0),
    ]
    monkeypatch.undo()
    assert parts[0].fingerprint == (
        in_memory.select_classes(["bee"]).without_labels().subset(np.arange(3), "").fingerprint
    )
    few, rest = on_disk.few_shot(4, seed=2)
    assert isinstance(few.images, np.ndarray) and not isinstance(rest.images, np.ndarray)
    for part, expected in zip((few, rest), in_memory.few_shot(4, seed=2), strict=True):
        assert part.fingerprint == expected.fingerprint


def test_the_limit_counts_the_chosen_images(cache, tmp_path, monkeypatch):
    spec = make_tfds(tmp_path, monkeypatch)
    limit = 40 * 8 * 8 * 3 / 1e9
    assert isinstance(load_images(spec, resolution=8, memory_gb=limit).images, np.ndarray)
    assert not cache.joinpath("converted").exists()
    train, heldout = load_train_and_heldout(spec, resolution=8, memory_gb=limit * 0.99)
    assert isinstance(train.images, records.RecordImages)
    assert isinstance(heldout.images, np.ndarray)
    few = load_images(spec, resolution=8, images_per_class=2, memory_gb=limit * 0.99)
    assert isinstance(few.images, np.ndarray)
    assert few.fingerprint == load_images(spec, resolution=8).few_shot(2, 0)[0].fingerprint


def age(directory):
    """Makes files look as if they had been written long ago, but for the time of their entries."""
    for path in Path(directory).rglob("*"):
        os.utime(path, (10**9, 10**9))


@pytest.fixture
def no_wait(monkeypatch):
    """Files are noted at once, however young they are."""
    monkeypatch.setattr("cgt_tf.data.notes._SETTLED", -(10**12))


def test_a_dataset_is_copied_once(cache, tmp_path, monkeypatch, no_wait):
    spec = make_tfds(tmp_path, monkeypatch)
    for _ in range(2):
        first = load_images(spec, resolution=8, memory_gb=0)
    assert len(list(cache.glob("converted/[!.]*"))) == 1
    digests = (first.fingerprint, first.class_digests)
    batches = take(pipeline.index_stream(first, 5, seed=0), 2)
    # Neither the records of the original, nor any bytes for digests, nor all images are read.
    monkeypatch.setattr(tfds_reader, "_undecoded", None)
    monkeypatch.setattr(converted, "sha256", None)
    monkeypatch.setattr(prepared, "sha256", None)
    again = load_images(spec, resolution=8, memory_gb=0)
    assert_same_batches(take(pipeline.index_stream(again, 5, seed=0), 2), batches)
    few = load_images(spec, resolution=8, images_per_class=1)
    assert few.fingerprint == first.few_shot(1, 0)[0].fingerprint
    monkeypatch.setattr(records, "read", None)
    assert (again.fingerprint, again.class_digests) == digests
    # Another size is another copy.
    monkeypatch.undo()
    monkeypatch.setenv("CGT_TF_CACHE", str(cache))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    assert load_images(spec, resolution=16, memory_gb=0).images.shape[1] == 16
    assert len(list(cache.glob("converted/[!.]*"))) == 2


def test_an_unchanged_folder_is_not_hashed_again(cache, folder, monkeypatch, no_wait):
    for _ in range(2):  # The second start hashes what the first has written.
        before = load_images(str(folder), resolution=8, memory_gb=0)
    monkeypatch.setattr("cgt_tf.data.folders.content_digest", None)
    monkeypatch.setattr(prepared, "sha256", None)
    assert len(load_images(str(folder), resolution=8)) == 43
    monkeypatch.undo()
    monkeypatch.setenv("CGT_TF_CACHE", str(cache))
    # Of the same size; even with its old time, its entry's own is a new one.
    path = folder / "ape" / "03.png"
    stat, content = path.stat(), (folder / "ape" / "04.png").read_bytes()
    path.write_bytes(content[: stat.st_size].ljust(stat.st_size, b"\0"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = load_images(str(folder), resolution=8, memory_gb=0)
    assert after.fingerprint != before.fingerprint
    np.testing.assert_array_equal(after.images[3], after.images[4])


def test_young_files_are_hashed_again(cache, folder):
    load_images(str(folder), resolution=8)
    assert not list(cache.glob("notes/*"))
    # Reading takes no note of one that may still change within its clock tick.
    age(folder)
    load_images(str(folder), resolution=8)
    assert not list(cache.glob("notes/*"))


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"key": 1}', '{"value": 7}'])
def test_a_damaged_note_is_taken_again(cache, folder, no_wait, content):
    for _ in range(2):
        before = load_images(str(folder), resolution=8, memory_gb=0)
    fingerprint = before.fingerprint
    paths = list(cache.glob("notes/*"))
    assert len(paths) == 3  # Of the folder, of its prepared dataset, of the fingerprint.
    for path in paths:
        path.write_text(content)
    assert load_images(str(folder), resolution=8, memory_gb=0).fingerprint == fingerprint
    assert all(json.loads(path.read_text())["value"] for path in paths)


def test_a_damaged_copy_is_made_again(cache, tmp_path, monkeypatch, caplog):
    spec = make_tfds(tmp_path, monkeypatch)
    before = load_images(spec, resolution=8, memory_gb=0).fingerprint
    (copy,) = cache.glob("converted/[!.]*")
    for name in ("labels.npy", "cgt_folder-train.array_record-00000-of-00001"):
        path = copy / name
        path.write_bytes(path.read_bytes()[:-3] + b"abc")
        caplog.clear()
        assert load_images(spec, resolution=8, memory_gb=0).fingerprint == before
        assert f"({name} is not the file that was written) and is prepared again" in caplog.text


def rewrite(directory, name, content):
    """Changes a file of a prepared dataset, and what its manifest says of it."""
    (directory / name).write_bytes(content)
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["files"] = prepared.file_facts(directory)
    (directory / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("name", ["labels.npy", "cgt_folder-train.array_record-00000-of-00001"])
@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", b"hello" * 100])
def test_a_forged_dataset_is_one_clear_error(cache, folder, tmp_path, name, content):
    output = prepare_folder(folder, 8, output_dir=tmp_path / "out", progress=False).path
    rewrite(output, name, content)
    with pytest.raises(InputError) as error:
        load_images(str(output), resolution=8, memory_gb=0).class_digests  # noqa: B018
    assert str(output) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros(3, np.int32), "expected 43 examples of .*, found 3"),
        (np.zeros(43, np.float32), "expected integer labels"),
        (np.zeros((43, 1), np.int32), "expected integer labels"),
        (np.full(43, 2, np.int32), "expected labels of the 2 classes"),
    ],
)
def test_labels_of_another_kind_are_refused(cache, folder, tmp_path, labels, message):
    output = prepare_folder(folder, 8, output_dir=tmp_path / "out", progress=False).path
    np.save(tmp_path / "other.npy", labels)
    rewrite(output, "labels.npy", (tmp_path / "other.npy").read_bytes())
    with pytest.raises(InputError, match=message):
        load_images(str(output), resolution=8)


def test_a_failed_copy_leaves_nothing(cache, tmp_path, monkeypatch):
    spec = make_tfds(tmp_path, monkeypatch)
    with pytest.raises(InputError, match="expected images to resize, got number 0 of"):
        monkeypatch.setattr(
            tfds_reader.decode,
            "fit_pixels",
            lambda *_: (_ for _ in ()).throw(tfds_reader.decode.UnreadableImage("odd")),
        )
        load_images(spec, resolution=8, memory_gb=0)
    assert [path.name for path in cache.rglob("*")] == ["converted", ".lock"]


_LEFT_RUNNING = """
import sys, time
sys.path.insert(0, {root!r})
from cgt_tf.data import pipeline
from cgt_tf.data.sources import load_images

images = load_images({folder!r}, resolution=8, memory_gb=0, cache_dir={cache!r})
read = images.images._source.__getitems__

class Slow:
    def __getitems__(self, numbers):
        time.sleep(1)
        return read(numbers)

images.images._source = Slow()
batches = iter(pipeline.index_stream(images, 2, seed=0))
next(batches)
print("read", flush=True)
if {fail}:
    raise KeyError("a defect")
"""


@pytest.mark.parametrize("fail", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_process_ends_while_it_reads_ahead(cache, folder, tmp_path, fail):
    """TensorFlow's threads that are in Python while the interpreter ends would never return."""
    script = tmp_path / "left_running.py"
    root = str(Path(__file__).parents[2])
    paths = {"root": root, "folder": str(folder), "cache": str(cache)}
    script.write_text(_LEFT_RUNNING.format(**paths, fail=fail))
    result = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=100
    )
    assert result.stdout.strip() == "read", result.stderr[-2000:]
    assert result.returncode == int(fail)


def test_sets_read_from_disk_can_be_scored_and_trained_on(cache, folder):
    """What else takes images takes them from disk, too."""
    from cgt_tf.features.classifier import Settings, training_batches
    from cgt_tf.features.classifier_data import hold_out, join

    sets = []
    for images in both(str(folder)):
        train, held = hold_out(images, seed=1)
        other = ImageSet(held.images, np.zeros(len(held), np.int32), ("cat",), "other")
        assert type(join([train]).images) is type(images.images)
        batches = take(training_batches(train, 6, Settings(seed=2)), 4)
        sets.append((join([train, other]).fingerprint, held.fingerprint, batches))
    assert sets[0][:2] == sets[1][:2]
    assert_same_batches(sets[0][2], sets[1][2])
