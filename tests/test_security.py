"""Harmless payloads in every kind of file that strangers may send: none may have its effect."""

import io
import os
import pickle
import struct
import zipfile
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest

from cgt_tf.data.sources import load_images
from cgt_tf.errors import InputError
from cgt_tf.features.loading import load_feature_net, runs_code
from cgt_tf.formats.native import read_model, save_model
from cgt_tf.networks.gan import create_gan
from cgt_tf.networks.spec import GanSpec
from cgt_tf.runs.handles import load_source


class Payload:
    """Makes a directory when it is unpickled."""

    def __init__(self, marker):
        self._marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self._marker,)


@pytest.fixture
def marker(tmp_path):
    path = tmp_path / "executed"
    yield path
    assert not path.exists()


@pytest.fixture
def model(tmp_path):
    fields = {"resolution": 8, "num_classes": 2, "dim_z": 4, "g_widths": (4, 4)}
    gan = create_gan(GanSpec(**fields, d_widths=(4, 4), d_halvings=1), ["ape", "bee"])
    return save_model(gan, tmp_path / "model", {})


def test_the_payload_would_work(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "made")))
    assert (tmp_path / "made").is_dir()


def test_a_pickle_in_an_archive_of_weights(model, marker):
    arrays = dict(np.load(model / "generator.npz"))
    array = np.empty(1, object)
    array[0] = Payload(marker)
    np.savez(model / "generator.npz", **{**arrays, "linear/bias": array})
    with pytest.raises(InputError, match="expected weights in"):
        read_model(model)


def test_a_pickle_in_the_place_of_weights(model, marker):
    (model / "generator.npz").write_bytes(pickle.dumps(Payload(marker)))
    with pytest.raises(InputError, match="expected weights in"):
        read_model(model)


def test_a_pickle_in_a_pth_file(tmp_path, marker):
    pytest.importorskip("torch")
    (tmp_path / "old.pth").write_bytes(pickle.dumps(Payload(marker)))
    with zipfile.ZipFile(tmp_path / "new.pth", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Payload(marker)))
        archive.writestr("archive/version", "3\n")
    for name in ("old", "new"):
        with pytest.raises(InputError):
            load_source(f"pth:{tmp_path}/{name}.pth")


def test_a_lambda_in_a_keras_file(tmp_path, marker):
    def effect(x, os=os, path=str(marker)):
        os.mkdir(path)
        return x

    inputs = keras.Input((8, 8, 3))
    layer = keras.layers.Lambda(lambda x: x, output_shape=(8, 8, 3))
    flat = keras.layers.Flatten(name="features")(layer(inputs))
    network = keras.Model(inputs, keras.layers.Dense(2, name="logits")(flat))
    layer.function = effect
    network.save(tmp_path / "net.keras")
    with pytest.raises(InputError, match=r"expected a file saved by keras\.Model\.save"):
        load_feature_net(str(tmp_path / "net.keras"))


@pytest.mark.parametrize(
    ("handle", "code"),
    [
        ("bundled:glyph_classifier", False),
        ("net.keras", False),
        ("inception", False),
        ("inception:folder", True),
        ("savedmodel:folder", True),
        ("folder", True),
    ],
)
def test_which_feature_networks_are_programs(handle, code):
    assert runs_code(handle) is code


def test_an_archive_that_unpacks_to_very_much(model):
    with zipfile.ZipFile(model / "generator.npz", "a", zipfile.ZIP_DEFLATED) as archive:
        stream = io.BytesIO()
        np.lib.format.write_array(stream, np.zeros(50_000_000, np.float32))
        archive.writestr("bomb.npy", stream.getvalue())
    assert (model / "generator.npz").stat().st_size < 1 << 20
    with pytest.raises(InputError, match="unpacks to 200"):
        read_model(model)


def png(width, height):
    """A valid head of a picture of any size, and next to nothing after it."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(100_000), 9)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def test_a_picture_of_ten_billion_pixels(tmp_path):
    (tmp_path / "photos" / "ape").mkdir(parents=True)
    (tmp_path / "photos" / "ape" / "1.png").write_bytes(png(100_000, 100_000))
    with pytest.raises(InputError, match="'ape' has none"):
        load_images(str(tmp_path / "photos"), resolution=8, cache_dir=tmp_path / "cache")


def test_names_that_would_move_the_cursor(model):
    (model / "class_names.txt").write_text("ape\n\x1b[2Jbee\n", encoding="utf-8")
    with pytest.raises(InputError, match="expected printable class names") as error:
        read_model(model)
    assert "\x1b" not in str(error.value)


def test_a_file_name_that_would_move_the_cursor(tmp_path):
    folder = tmp_path / "photos" / "ape"
    folder.mkdir(parents=True)
    (folder / "a\x1b[2J.png").write_bytes(b"none")
    with pytest.raises(InputError) as error:
        load_images(str(tmp_path / "photos"), resolution=8, cache_dir=tmp_path / "cache")
    assert "\x1b" not in error.value.details and r"\x1b[2J" in error.value.details


def test_files_outside_are_not_read(model, tmp_path):
    secret = tmp_path / "secret.json"
    secret.write_text('{"word": "swordfish"}')
    for name in ("spec.json", "class_names.txt", "provenance.json"):
        own = (model / name).read_bytes()
        (model / name).unlink()
        (model / name).symlink_to(secret)
        with pytest.raises(InputError, match="got a link") as error:
            read_model(model)
        assert "swordfish" not in str(error.value)
        (model / name).unlink()
        (model / name).write_bytes(own)
    assert read_model(model).class_names == ["ape", "bee"] and Path(secret).exists()
