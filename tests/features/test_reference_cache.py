"""The cache of reference features: by content, written whole, computed again when damaged."""

import numpy as np
import pytest
import tensorflow as tf
from absl import logging

from cgt_tf.errors import InputError
from cgt_tf.features import reference_cache
from cgt_tf.features.feature_net import FeatureNet
from cgt_tf.features.reference_cache import ReferenceCache

FEATURES = np.arange(12, dtype=np.float32).reshape(4, 3)


def net(fingerprint="f" * 64):
    return FeatureNet("any", 8, 3, fingerprint, lambda images: (images, None))


class Compute:
    def __init__(self, features=FEATURES):
        self.calls = 0
        self.features = features

    def __call__(self):
        self.calls += 1
        return np.array_split(self.features, 3)


@pytest.fixture
def warnings(monkeypatch):
    lines = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: lines.append(text % values))
    return lines


def test_an_entry_is_computed_once(tmp_path, warnings, size):
    cache, compute = ReferenceCache(tmp_path), Compute()
    for _ in range(2):
        features = cache.features(net(), "abc", 4, compute)
        np.testing.assert_array_equal(features, FEATURES)
        assert features.dtype == np.float32
        assert isinstance(features, np.memmap) == (size == "mapped")
    assert compute.calls == 1 and warnings == []
    assert [path.name for path in (tmp_path / "features").iterdir()] == [
        cache.path(net(), "abc").name
    ]


def test_the_key_is_the_content_of_network_and_images(tmp_path, monkeypatch):
    cache = ReferenceCache(tmp_path)
    paths = {
        cache.path(net(), "abc"),
        cache.path(net("e" * 64), "abc"),
        cache.path(net(), "abd"),
    }
    monkeypatch.setattr(tf, "__version__", "0.0")
    assert len(paths | {cache.path(net(), "abc")}) == 4


def test_the_cache_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("CGT_TF_CACHE", str(tmp_path / "there"))
    assert ReferenceCache().path(net(), "abc").parent == tmp_path / "there" / "features"


def damage_truncate(path):
    path.write_bytes(path.read_bytes()[:-40])


def damage_bits(path):
    content = bytearray(path.read_bytes())
    content[content.index(FEATURES.tobytes()) + 5] ^= 0xFF
    path.write_bytes(content)


def damage_empty(path):
    path.write_bytes(b"")


def damage_other_array(path):
    np.savez(path, other=FEATURES)


def damage_shape(path):
    np.savez(path, features=FEATURES[:2])


def damage_pickle(path):
    np.savez(path, features=np.array([object()], dtype=object))


@pytest.fixture(params=["in memory", "mapped"])
def size(request, monkeypatch):
    """Of the features, against the limit above which they are mapped."""
    if request.param == "mapped":
        monkeypatch.setattr(reference_cache, "IN_MEMORY", FEATURES.nbytes - 1)
    return request.param


@pytest.mark.parametrize(
    "damage",
    [
        damage_truncate,
        damage_bits,
        damage_empty,
        damage_other_array,
        damage_shape,
        damage_pickle,
    ],
)
def test_a_damaged_entry_is_computed_again_with_a_warning(tmp_path, warnings, damage, size):
    cache, compute = ReferenceCache(tmp_path), Compute()
    cache.features(net(), "abc", 4, compute)
    damage(cache.path(net(), "abc"))
    for _ in range(2):
        np.testing.assert_array_equal(cache.features(net(), "abc", 4, compute), FEATURES)
    assert compute.calls == 2
    assert len(warnings) == 1 and "is damaged and is computed again" in warnings[0]


def test_a_failed_write_leaves_nothing_and_is_told(tmp_path, warnings, monkeypatch):
    cache, compute = ReferenceCache(tmp_path), Compute()

    def full(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    np.testing.assert_array_equal(cache.features(net(), "abc", 4, compute), FEATURES)
    assert list((tmp_path / "features").iterdir()) == []
    assert len(warnings) == 1 and "No space left on device" in warnings[0]


def test_a_place_that_cannot_be_written_to_does_not_stop_the_evaluation(tmp_path, warnings):
    (tmp_path / "features").write_text("a file")
    features = ReferenceCache(tmp_path).features(net(), "abc", 4, Compute())
    np.testing.assert_array_equal(features, FEATURES)
    assert len(warnings) == 1 and "not cached" in warnings[0]


def test_mapped_features_are_checked_to_their_end(tmp_path, monkeypatch, warnings):
    monkeypatch.setattr(reference_cache, "IN_MEMORY", 0)
    large = np.arange(3 * 10**6, dtype=np.float32).reshape(-1, 3)
    cache, compute = ReferenceCache(tmp_path), Compute(large)
    path = cache.path(net(), "abc")
    cache.features(net(), "abc", len(large), compute)
    with path.open("r+b") as file:
        file.seek(-5000, 2)
        file.write(b"x")
    np.testing.assert_array_equal(cache.features(net(), "abc", len(large), compute), large)
    assert compute.calls == 2 and len(warnings) == 1


def test_large_features_need_a_place(tmp_path, monkeypatch):
    monkeypatch.setattr(reference_cache, "IN_MEMORY", 0)
    (tmp_path / "features").write_text("a file")
    with pytest.raises(InputError, match="expected room for 0 GB of features"):
        ReferenceCache(tmp_path).features(net(), "abc", 4, Compute())


def test_both_forms_are_the_same_file(tmp_path, monkeypatch):
    """What a small limit has written is read under a large one, and the other way round."""
    for first, second in ((0, 2**20), (2**20, 0)):
        cache, compute = ReferenceCache(tmp_path / str(first)), Compute()
        for limit in (first, second):
            monkeypatch.setattr(reference_cache, "IN_MEMORY", limit)
            np.testing.assert_array_equal(cache.features(net(), "abc", 4, compute), FEATURES)
        assert compute.calls == 1
