"""A method is one file and one registry line: everything else runs with it as it is."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from tiny_sources import TARGET, normal, tiny_source

from cgt_tf.config import TrainingConfig
from cgt_tf.data.image_set import ImageSet
from cgt_tf.errors import InputError
from cgt_tf.export.saved_model import export_saved_model
from cgt_tf.export.served import load_saved_model
from cgt_tf.methods import registry
from cgt_tf.methods.transfer import check_transfer
from cgt_tf.runs.handles import load_source
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.runs.snapshots import open_snapshot
from cgt_tf.training.loop import TrainingRun

LABELS = np.array([2, 0, 1], np.int32)
Z = normal(3, 8)


@pytest.fixture(scope="module")
def toy():
    """The registry line, for as long as this file's tests run."""
    registry.METHODS["toy"] = "toy_miner:ToyMiner"
    yield
    del registry.METHODS["toy"]
    registry.config_type.cache_clear()


def prepared(directory, scores=None):
    config = registry.create_config("toy", {"mine_steps": 2}, seed=3)
    config.training = TrainingConfig(
        steps=3, batch_size=4, accumulation=2, log_every=1, sample_every=2, ema_decay=0.5
    )
    config.evaluation.every = 2
    config.generator.learning_rate = 0.02
    registry.validate(config)
    method = registry.create_method(config)
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    with strategy.scope():
        networks = method.build((tiny_source("shared_hierarchical"),), TARGET)
    images = np.random.default_rng(2).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    data = ImageSet(images, np.arange(12, dtype=np.int32) % 3, TARGET.class_names, "random")
    run = RunDir(directory)
    run.open(config, TARGET.class_names)
    return TrainingRun(config, run, strategy, method, networks, data, scores)


@pytest.fixture(scope="module")
def trained(toy, tmp_path_factory):
    """A finished run, values of its networks before it, and what was scored."""
    scored = {}

    def score(extended):
        step = int(training.state.step.numpy())
        scored[step] = ops.convert_to_numpy(extended(Z, LABELS))
        return lambda: {"fid": 10.0 - step}

    training = prepared(tmp_path_factory.mktemp("toy") / "run", score)
    before = values(training.networks)
    training.train()
    return training, before, scored


def values(networks):
    return {
        name: [ops.convert_to_numpy(v) for v in network.variables]
        for name, network in networks.named.items()
    }


def ema_images(training):
    with training.state.holding_ema():
        networks = training.networks
        mined = networks["miner"](Z, np.eye(3, dtype=np.float32)[LABELS])
        return ops.convert_to_numpy(networks.generator(*mined)[0])


def test_stages_follow_each_other(trained):
    training, _, scored = trained
    records = [r for r in training.run.read_stats() if "generator_loss" in r]
    assert [(r["step"], r["stage"]) for r in records] == [
        *((1, "mine"), (2, "mine")),
        *((3, "joint"), (4, "joint"), (5, "joint")),
    ]
    assert all({"distil", "first_layer", "discriminator_loss"} <= r.keys() for r in records)
    assert records[0]["distil"] > 0
    assert sorted(scored) == [0, 2, 4, 5]
    assert training.run.saved_steps() == [2, 4, 5]
    iterations = {name: o.iterations for name, o in training.state.optimizers.items()}
    assert iterations == {"discriminator": 5, "mine": 2, "joint": 3}


def test_a_stage_trains_its_networks_alone(toy, tmp_path):
    training = prepared(tmp_path / "run")
    before = values(training.networks)
    step = training.make_step()
    span = training.spans[0]
    batches = training.batches(span, 0)
    step(batches)
    after = values(training.networks)
    moved = {
        name: [not np.array_equal(a, b) for a, b in zip(after[name], value, strict=True)]
        for name, value in before.items()
    }
    assert all(moved["miner"]) and any(moved["discriminator"])
    generator = training.networks.generator
    assert not any(
        changed
        for changed, v in zip(moved["generator"], generator.variables, strict=True)
        if v.trainable
    )


def test_all_networks_learn_and_teachers_rest(trained):
    training, before, _ = trained
    for name, value in values(training.networks).items():
        assert any(not np.array_equal(a, b) for a, b in zip(value, before[name], strict=True))
    source = tiny_source("shared_hierarchical").discriminator
    assert training.networks["source_discriminator"] is source


def test_a_snapshot_is_the_ema_behind_its_miner(trained):
    training, _, scored = trained
    expected = ema_images(training)
    snapshot = open_snapshot(str(training.run.path), "last")
    assert snapshot.gan.spec.wrapper == "mined"
    np.testing.assert_allclose(snapshot.extended()(Z, LABELS), expected, atol=1e-5)
    np.testing.assert_allclose(scored[5], expected, atol=1e-5)
    source = load_source(f"run:{training.run.path}")
    assert source.class_names == list(TARGET.class_names)
    assert source.discriminator.num_classes == 3


def test_it_is_exported_and_refuses_mixtures(trained, tmp_path):
    training, _, _ = trained
    extended = open_snapshot(str(training.run.path), "last").extended()
    served = load_saved_model(export_saved_model(extended, tmp_path))
    images = served.signatures["from_latent"](
        label=tf.constant(LABELS, tf.int64), z=tf.constant(Z)
    )["image"]
    np.testing.assert_allclose(images, ema_images(training), atol=1e-5)
    weights = np.full((3, 3), 1 / 3, np.float32)
    with pytest.raises(InputError, match="this one is mined: give labels"):
        extended(Z, weights)
    with pytest.raises(tf.errors.InvalidArgumentError, match="this one is mined: give labels"):
        served.signatures["mix"](class_weights=tf.constant(weights), z=tf.constant(Z))


def test_it_is_no_source_of_methods_that_need_class_tables(trained):
    training, _, _ = trained
    source = load_source(f"run:{training.run.path}")
    with pytest.raises(InputError, match="table of classes, got one that is mined"):
        check_transfer(source, dataclasses.replace(TARGET, class_names=("u",)))
