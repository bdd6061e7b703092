"""Runs as sources: one from scratch, a transfer on it, and a transfer on that."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from cgt_tf.config import Config
from cgt_tf.data.image_set import ImageSet
from cgt_tf.errors import InputError
from cgt_tf.importers.native import save_model
from cgt_tf.importers.registry import load_source
from cgt_tf.methods.base import DataSpec
from cgt_tf.methods.registry import create_method
from cgt_tf.training.loop import TrainingRun
from cgt_tf.training.run_dir import RunDir
from cgt_tf.training.saved_run import SavedRun, read_source

STRATEGY = tf.distribute.OneDeviceStrategy("/cpu:0")


def train(directory, names, **fields):
    """Two steps on random images; returns the run's method and networks."""
    config = Config(**fields)
    model = {"g_widths": (8, 4, 4, 4), "d_widths": (4, 4, 8), "dim_z": 8}
    config.model = dataclasses.replace(config.model, **model)
    training = {"steps": 2, "batch_size": 4, "sample_every": 0, "checkpoint_every": 2}
    config.training = dataclasses.replace(config.training, ema_decay=0.5, **training)
    config.evaluation.every = 0
    keras.utils.set_random_seed(0)
    method = create_method(config)
    with STRATEGY.scope():
        gan = method.build(read_source(config), DataSpec(names, 32))
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    data = ImageSet(images, np.arange(8, dtype=np.int32) % len(names), names, "random")
    run = RunDir(directory)
    run.open(config, names)
    training_run = TrainingRun(config, run, STRATEGY, method, gan, data)
    training_run.train()
    training_run.state.average.overwrite()
    return method, gan


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Directories and `(method, gan)` of a run from scratch and of a transfer on it."""
    root = tmp_path_factory.mktemp("runs")
    scratch = Config().method
    scratch = dataclasses.replace(scratch, name="scratch")
    first = train(root / "first", ("a", "b", "c"), method=scratch)
    second = train(root / "second", ("x", "y"), source=f"run:{root / 'first'}")
    return root, first, second


def images(generator, labels):
    z = np.random.default_rng(5).normal(size=(len(labels), 8)).astype(np.float32)
    return ops.convert_to_numpy(generator(z, np.array(labels, np.int32))[0])


def test_a_run_from_scratch_is_its_averaged_networks(runs):
    root, (_, gan), _ = runs
    source = load_source(f"run:{root / 'first'}")
    assert source.class_names == ["a", "b", "c"]
    assert source.spec == gan.spec
    expected = images(gan.generator, [0, 1, 2])
    np.testing.assert_allclose(images(source.generator, [0, 1, 2]), expected, atol=1e-5)
    kernel = gan.discriminator.linear.kernel
    np.testing.assert_array_equal(source.discriminator.linear.kernel, kernel)


def test_a_transfer_is_old_and_new_classes_together(runs, tmp_path):
    root, (_, first), (_, second) = runs
    source = load_source(f"run:{root / 'second'}")
    assert source.class_names == ["a", "b", "c", "x", "y"]
    assert source.spec.domain_classes == (3, 2)
    old, new = images(first.generator, [2, 0]), images(second.generator, [1, 0])
    np.testing.assert_allclose(images(source.generator, [2, 0]), old, atol=1e-5)
    np.testing.assert_allclose(images(source.generator, [4, 3]), new, atol=1e-5)
    assert source.discriminator.num_classes == 2
    save_model(source, tmp_path / "model", {})
    again = load_source(f"model:{tmp_path / 'model'}")
    labels = [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(images(again.generator, labels), images(source.generator, labels))
    assert again.discriminator.num_classes == 2


def test_a_transfer_on_a_transfer_keeps_all_earlier_classes(runs):
    root, _, _ = runs
    source = load_source(f"run:{root / 'second'}")
    method, gan = train(root / "third", ("u", "v"), source=f"run:{root / 'second'}")
    extended = method.extended(gan)
    assert extended.spec.domain_classes == (3, 2, 2)
    z = np.random.default_rng(5).normal(size=(5, 8)).astype(np.float32)
    labels = np.arange(5, dtype=np.int32)
    expected = ops.convert_to_numpy(source.generator(z, labels)[0])
    np.testing.assert_array_equal(extended(z, labels), expected)


def test_fine_tuning_starts_from_the_run(runs):
    root, _, (_, second) = runs
    saved = SavedRun.open(str(root / "second"))
    config = dataclasses.replace(saved.config)
    config.method = dataclasses.replace(
        config.method, stage="fine_tune", start=str(root / "second")
    )
    method = create_method(config)
    gan = method.build(read_source(config), DataSpec(("x", "y"), 32))
    method.continue_from(gan, saved.gan)
    expected = images(second.generator, [0, 1])
    np.testing.assert_allclose(images(gan.generator, [0, 1]), expected, atol=1e-4)


def test_what_is_refused(runs, tmp_path):
    root, _, _ = runs
    with pytest.raises(InputError, match="expected a run of cgt-train"):
        load_source(f"run:{tmp_path}")
    with pytest.raises(InputError, match="a run keeps its own"):
        load_source(f"run:{root / 'first'}", bn_eps=1e-3)
    with pytest.raises(InputError, match=r"with num_classes 5 .* got 2"):
        load_source(f"run:{root / 'second'}", discriminator=f"run:{root / 'second'}")
