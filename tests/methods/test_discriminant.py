"""Which old classes a new one is like: the rule, and how often it is right about real images."""

import dataclasses
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from keras import ops
from tiny_sources import TARGET, normal, tiny_source

from cgt_tf.data import glyphs
from cgt_tf.data.image_set import ImageSet
from cgt_tf.data.sources import load_images
from cgt_tf.errors import InputError
from cgt_tf.methods import discriminant
from cgt_tf.methods.discriminant import Discriminant, class_features, nearest_classes
from cgt_tf.runs.handles import load_source

# Of all images, how many more the rule must name than the one it replaced.
MARGIN = 0.2
TFDS_ROOT = Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


def labelled(count, classes, dim, spread=1.0, seed=0):
    """Features [count, dim] around a centre for each class, all with one skew covariance."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    mixing = rng.normal(size=(dim, dim))
    noise = rng.normal(size=(count, dim)) @ mixing
    return spread * rng.normal(size=(classes, dim))[labels] + noise, labels


def test_similarities_are_the_softmax_of_distances_in_the_pooled_covariance():
    features, labels = labelled(60, 3, 4)
    found = Discriminant(features, labels).log_similarities(features[:5] + 0.3)
    means = np.array([features[labels == i].mean(axis=0) for i in range(3)])
    pooled = sum(np.cov(features[labels == i].T) * 19 for i in range(3)) / 57
    ridged = pooled + 0.01 * np.trace(pooled) / 4 * np.eye(4)
    for row, h in zip(found, features[:5] + 0.3, strict=True):
        distances = np.array([(h - mu) @ np.linalg.solve(ridged, h - mu) for mu in means])
        expected = np.exp(-distances / 2)
        np.testing.assert_allclose(np.exp(row), expected / expected.sum(), rtol=1e-6)


def test_directions_in_which_classes_vary_count_less():
    """Euclid's nearest centroid is another."""
    rng = np.random.default_rng(0)
    labels = np.arange(2000) % 2
    noise = rng.normal(size=(2000, 2)) * [10, 0.1]
    found = Discriminant(np.array([[0, 0], [4, 1]])[labels] + noise, labels)
    new = np.array([[4.0, 0.0]])
    assert np.argmin(np.linalg.norm(new - found.centroids, axis=1)) == 1
    assert found.log_similarities(new).argmax() == 0


def test_features_that_never_vary_do_no_harm():
    features, labels = labelled(40, 2, 3)
    still = np.concatenate([features, np.zeros((40, 2))], axis=1)
    found = Discriminant(still, labels).log_similarities(still)
    assert np.isfinite(found).all()
    assert np.isfinite(Discriminant(np.ones((4, 2)), np.array([0, 0, 1, 1])).precision).all()


def image_set(seed=0, names=TARGET.class_names, count=4):
    shape = (count * len(names), 8, 8, 3)
    images = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    labels = np.repeat(np.arange(len(names), dtype=np.int32), count)
    return ImageSet(images, labels, tuple(names), "random")


def test_class_features_are_means_of_features_of_unit_length(monkeypatch):
    source, data = tiny_source("table"), image_set()
    monkeypatch.setattr(discriminant, "_BATCH", 3)
    found = class_features(source, data)
    scaled = data.images.astype(np.float32) / 127.5 - 1
    endpoints = source.discriminator(scaled, np.zeros(len(scaled), np.int32))[1]
    h = ops.convert_to_numpy(endpoints["features"])
    units = h / np.linalg.norm(h, axis=1, keepdims=True)
    expected = [units[data.labels == label].mean(axis=0) for label in range(3)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_classes_of_samples_are_found_again():
    """New classes that are the source's own samples, of other latents."""
    source = tiny_source("table")
    z, labels = normal(80, 8, seed=9), np.repeat([3, 1], 40).astype(np.int32)
    images = ops.convert_to_numpy(source.generator(z, labels)[0])
    pixels = np.rint((images + 1) * 127.5).astype(np.uint8)
    data = ImageSet(pixels, np.repeat([0, 1], 40).astype(np.int32), ("x", "y"), "samples")
    assert [list(rows) for rows in nearest_classes(source, data, 1)] == [[3], [1]]


def test_nearest_classes_are_in_order_and_no_more_than_there_are():
    source, data = tiny_source("table"), image_set()
    logs = discriminant.log_similarities(source, data)
    for row, found in zip(logs, nearest_classes(source, data, 99), strict=True):
        assert sorted(found) == list(range(5))
        assert (np.diff(row[found]) <= 0).all()
    first = nearest_classes(source, data, 2)
    for again, rows in zip(nearest_classes(source, data, 99), first, strict=True):
        np.testing.assert_array_equal(again[:2], rows)


@pytest.mark.parametrize(("classes", "samples"), [(4, 200), (1000, 10_000), (3000, 24_000)])
def test_the_samples_of_many_classes_are_few_of_each(classes, samples, monkeypatch):
    counts = np.zeros(classes, int)

    def generator(z, labels):
        assert z.shape == (len(labels), 2)
        np.add.at(counts, labels, 1)
        return np.zeros((len(labels), 1, 1, 3)), {}

    spec = SimpleNamespace(num_classes=classes, dim_z=2)
    source = SimpleNamespace(spec=spec, generator=generator, discriminator=True)
    monkeypatch.setattr(
        discriminant, "_features", lambda _, batches: np.ones((sum(map(len, batches)), 2))
    )
    discriminant.source_discriminant(source)
    assert counts.sum() == samples and len(set(counts)) == 1


def test_a_source_without_a_discriminator():
    source = dataclasses.replace(tiny_source("table"), discriminator=None)
    with pytest.raises(InputError, match="expected a source with a discriminator, whose features"):
        nearest_classes(source, image_set(), 2)


# On real images of the source's own classes.


def shares_named(source, data):
    """Shares of images, and of classes, named by the rule, and of images by the one before.

    That one took the class whose vector in the discriminator has the largest product with the
    features, <v_i, h>.
    """
    batches = (batch.astype(np.float32) / 127.5 - 1 for batch in data.batches(100))
    outputs = [source.discriminator(x, np.zeros(len(x), np.int32))[1] for x in batches]
    h = np.concatenate([ops.convert_to_numpy(x["features"]) for x in outputs])
    vectors = ops.convert_to_numpy(source.discriminator.class_projection.table())
    classes = np.array([source.class_names.index(name) for name in data.class_names])
    truth = classes[data.labels]
    rule = discriminant.source_discriminant(source)
    units = h / np.linalg.norm(h, axis=1, keepdims=True)
    found = rule.log_similarities(units).argmax(axis=1)
    means = rule.log_similarities(class_features(source, data)).argmax(axis=1)
    before = (h @ vectors.T).argmax(axis=1)
    return np.mean(found == truth), np.mean(means == classes), np.mean(before == truth)


def check_named(source, data):
    images, classes, before = shares_named(source, data)
    assert images > before + MARGIN, (images, before)
    # A class is one decision out of many images.
    assert classes >= images, (classes, images)


def test_real_glyphs_are_named_more_often_than_by_the_rule_before(monkeypatch):
    monkeypatch.setattr(discriminant, "_PER_CLASS", 10)
    source = load_source("bundled:glyphs32")
    names = source.class_names[::4]
    images = [glyphs.render(name, "train", i) for name in names for i in range(20)]
    labels = np.repeat(np.arange(20, dtype=np.int32), 20)
    check_named(source, ImageSet(np.stack(images), labels, tuple(names), "glyphs"))


@pytest.mark.slow
def test_real_photographs_are_named_more_often_than_by_the_rule_before():
    if not (TFDS_ROOT / "cifar100").is_dir():
        pytest.skip("CIFAR-100 is not in the TFDS directory")
    source = load_source("bundled:cifar80")
    data = load_images(
        "tfds:cifar100",
        resolution=32,
        classes=tuple(source.class_names),
        images_per_class=20,
    )
    check_named(source, data)
