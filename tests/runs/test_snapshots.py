"""What a checkpoint keeps: of a run from scratch, a transfer on it, and a transfer on that."""

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from cgt_tf.config import ModelConfig, TrainingConfig
from cgt_tf.data.image_set import ImageSet
from cgt_tf.errors import InputError
from cgt_tf.formats.native import save_model
from cgt_tf.methods.base import DataSpec
from cgt_tf.methods.registry import create_config, create_method
from cgt_tf.networks.weights import variable_name
from cgt_tf.runs.checkpoints import read_networks
from cgt_tf.runs.handles import load_source
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.runs.snapshots import open_snapshot
from cgt_tf.training.loop import TrainingRun

STRATEGY = tf.distribute.OneDeviceStrategy("/cpu:0")
MODEL = ModelConfig(g_widths=(8, 4, 4, 4), d_widths=(4, 4, 8), dim_z=8)
DECAY = 0.5


def build(config, names):
    """The method of a config and its networks."""
    keras.utils.set_random_seed(0)
    method = create_method(config)
    with STRATEGY.scope():
        sources = [load_source(handle) for handle in method.source_handles]
        return method, method.build(sources, DataSpec(names, 32))


def image_set(names):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    return ImageSet(pixels, np.arange(8, dtype=np.int32) % len(names), names, "random")


def train(directory, names, method="cgan_transfer", **groups):
    """Two steps on random images; returns the run's method, networks and generator's EMA."""
    training = TrainingConfig(
        steps=2, batch_size=4, sample_every=0, checkpoint_every=2, ema_decay=DECAY
    )
    config = create_config(method, model=MODEL, training=training, **groups)
    method, networks = build(config, names)
    run = RunDir(directory)
    run.open(config, names)
    training_run = TrainingRun(config, run, STRATEGY, method, networks, image_set(names))
    shadow = training_run.train().ema.shadow["generator"]
    for variable in networks.generator.variables:
        if variable_name(variable) in shadow:
            variable.assign(shadow[variable_name(variable)])
    return method, networks


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Directories and `(method, networks)` of a run from scratch and of a transfer on it."""
    root = tmp_path_factory.mktemp("runs")
    first = train(root / "first", ("a", "b", "c"), "scratch")
    second = train(root / "second", ("x", "y"), source=f"run:{root / 'first'}")
    return root, first, second


def latents(count):
    return np.random.default_rng(5).normal(size=(count, 8)).astype(np.float32)


def images(generator, labels):
    return ops.convert_to_numpy(generator(latents(len(labels)), np.array(labels, np.int32))[0])


def test_a_run_from_scratch_is_the_ema_of_its_networks(runs):
    root, (_, networks), _ = runs
    source = load_source(f"run:{root / 'first'}")
    assert source.class_names == ["a", "b", "c"]
    assert source.spec == networks.spec
    for mine, theirs in zip(source.generator.variables, networks.generator.variables, strict=True):
        np.testing.assert_array_equal(mine, theirs, err_msg=mine.path)
    expected = images(networks.generator, [0, 1, 2])
    np.testing.assert_allclose(images(source.generator, [0, 1, 2]), expected, atol=1e-5)
    kernel = networks.discriminator.linear.kernel
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


def test_a_snapshot_says_what_it_is(runs):
    root, _, _ = runs
    snapshot = open_snapshot(str(root / "second"), "last")
    assert (snapshot.step, snapshot.new_classes) == (2, ("x", "y"))
    assert snapshot.gan.class_names == ["a", "b", "c", "x", "y"]
    provenance = snapshot.provenance
    assert (provenance["run"], provenance["step"]) == ("second", 2)
    assert provenance["ema_decay"] == DECAY
    assert provenance["config"]["source"] == f"run:{root / 'first'}"
    extended = snapshot.extended()
    assert extended.generator is snapshot.gan.generator
    expected = images(snapshot.gan.generator, [0, 4])
    np.testing.assert_array_equal(extended(latents(2), np.array([0, 4])), expected)
    first = open_snapshot(str(root / "first"), "0")
    assert (first.step, first.extended().spec.domain_classes) == (0, (3,))


@pytest.mark.parametrize("kind", ["run", "model"])
def test_nothing_of_a_run_is_lost_with_its_source(runs, tmp_path, kind):
    root, _, _ = runs
    place = tmp_path / "source"
    if kind == "run":
        shutil.copytree(root / "first", place)
    else:
        save_model(load_source(f"run:{root / 'first'}"), place, {})
    transferred = str(tmp_path / "transferred")
    train(transferred, ("x", "y"), source=f"{kind}:{place}")
    labels = np.arange(5, dtype=np.int32)

    def both():
        of_source = images(load_source(f"run:{transferred}").generator, labels)
        extended = open_snapshot(transferred).extended()
        return of_source, ops.convert_to_numpy(extended(latents(5), labels))

    before = both()
    shutil.rmtree(place)
    for found, expected in zip(both(), before, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_trained_variables_are_read_by_their_names(runs):
    """The EMA where there is one."""
    root, _, (_, second) = runs
    found = read_networks(RunDir(root / "second"), 2)
    assert found.keys() == second.named.keys()
    for name, network in second.named.items():
        expected = {variable_name(v): ops.convert_to_numpy(v) for v in network.variables}
        assert found[name].keys() == expected.keys()
        for variable, value in expected.items():
            np.testing.assert_array_equal(found[name][variable], value, err_msg=variable)


def test_a_transfer_on_a_transfer_keeps_all_earlier_classes(runs):
    root, _, _ = runs
    source = load_source(f"run:{root / 'second'}")
    method, networks = train(root / "third", ("u", "v"), source=f"run:{root / 'second'}")
    extended = method.extended(networks)
    assert extended.spec.domain_classes == (3, 2, 2)
    labels = np.arange(5, dtype=np.int32)
    expected = images(source.generator, labels)
    np.testing.assert_array_equal(extended(latents(5), labels), expected)
    again = load_source(f"run:{root / 'third'}")
    assert again.class_names == list("abcxyuv")
    np.testing.assert_array_equal(images(again.generator, labels), expected)


def test_fine_tuning_starts_from_the_run(runs):
    root, _, (_, second) = runs
    settings = {"stages": ("fine_tune",), "start": str(root / "second")}
    config = create_config("cgan_transfer", settings, source=f"run:{root / 'first'}")
    method, networks = build(config, ("x", "y"))
    method.prepare(networks, image_set(("x", "y")))
    expected = images(second.generator, [0, 1])
    np.testing.assert_allclose(images(networks.generator, [0, 1]), expected, atol=1e-4)
    kernel = second.discriminator.linear.kernel
    np.testing.assert_array_equal(networks.discriminator.linear.kernel, kernel)


def test_what_is_refused(runs, tmp_path):
    root, _, _ = runs
    with pytest.raises(InputError, match="expected a run of cgt-train"):
        load_source(f"run:{tmp_path}")
    with pytest.raises(InputError, match="a run keeps its own"):
        load_source(f"run:{root / 'first'}", bn_eps=1e-3)
    with pytest.raises(InputError, match=r"with num_classes 5 .* got 2"):
        load_source(f"run:{root / 'second'}", discriminator=f"run:{root / 'second'}")
    with pytest.raises(InputError, match="best, last or one of 0, 2, got '1'"):
        open_snapshot(str(root / "first"), "1")
    damaged = shutil.copytree(root / "first", tmp_path / "damaged")
    (RunDir(damaged).snapshot_path(2) / "generator.npz").write_bytes(b"half")
    with pytest.raises(InputError, match=r"sound checkpoint of step 2: gan/generator\.npz has 4"):
        open_snapshot(str(damaged), "2")
    assert open_snapshot(str(damaged), "last").step == 0
