"""Hyper-Modulation: what it starts from, what is trained, its stages, and what is exported."""

import dataclasses
import functools
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from tiny_sources import FORMS, TARGET, minimized, normal, randomize, tiny_source, values
from tiny_sources import trained_variables as trained_of

from cgt_tf.config import TrainingConfig
from cgt_tf.data.image_set import ImageSet
from cgt_tf.errors import InputError
from cgt_tf.export.saved_model import export_saved_model
from cgt_tf.export.served import load_saved_model
from cgt_tf.methods import registry
from cgt_tf.networks.gan import Gan, create_gan
from cgt_tf.networks.modulated import OldClasses
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.runs.snapshots import open_snapshot
from cgt_tf.training.hooks import Checkpoints
from cgt_tf.training.loop import TrainingRun

NAME = "hyper_modulation"
Z = normal(6, 8)
LABELS = np.array([2, 0, 1, 1, 0, 2], np.int32)
ONE_HOT = np.eye(3, dtype=np.float32)[LABELS]


@functools.cache
def source_of(form):
    if form != "one_class":
        return tiny_source(form)
    spec = dataclasses.replace(tiny_source("shared_hierarchical").spec, num_classes=1)
    gan = create_gan(spec, ["all"])
    for network in (gan.generator, gan.discriminator):
        randomize(network)
    return gan


def method_of(settings=None, **training):
    config = registry.create_config(NAME, {"task_width": 8, **(settings or {})}, seed=3)
    fields = {"steps": 3, "batch_size": 4, "log_every": 1, "sample_every": 0, "ema_decay": 0.5}
    config.training = TrainingConfig(**{**fields, "checkpoint_every": 1, **training})
    config.generator.learning_rate = 0.02
    registry.validate(config)
    return registry.create_method(config)


def built(form="shared_hierarchical", settings=None, target=TARGET):
    method = method_of(settings)
    return method, method.build((source_of(form),), target)


def old_classes(z, count):
    scaled = np.float32(997) * z[:, 0]
    return np.floor(np.float32(count) * (scaled - np.floor(scaled))).astype(int)


# The old class that comes with z.


def test_the_old_class_is_uniform_and_a_function_of_z():
    z = normal(20000, 3)
    miner = OldClasses(5)
    same, given = miner(z, None)
    np.testing.assert_array_equal(same, z)
    k = np.argmax(given.classes, axis=1)
    np.testing.assert_array_equal(np.asarray(given.classes), np.eye(5)[k])
    np.testing.assert_array_equal(k, old_classes(z, 5))
    counts = np.bincount(k, minlength=5)
    # Chi-square with 4 degrees of freedom: above 18.5 once in a thousand seeds.
    assert np.sum((counts - 4000) ** 2 / 4000) < 18.5
    # Independent of z: the classes' means are 0 as far as draws tell.
    means = [z[k == i].mean(axis=0) * np.sqrt(counts[i]) for i in range(5)]
    assert np.abs(means).max() < 4
    again = miner(z[:7], None)[1].classes
    np.testing.assert_array_equal(np.argmax(again, axis=1), k[:7])


def test_the_old_class_is_always_one_of_them():
    z = np.array([[0.0], [-1e-12], [1e-12], [-0.0], [1 / 997], [-1 / 997]], np.float32)
    for count in (1, 80, 1000):
        classes = np.asarray(OldClasses(count)(z, None)[1].classes)
        assert classes.shape == (6, count) and (classes.sum(axis=1) == 1).all()


# The start.


@pytest.mark.parametrize(
    ("form", "settings"),
    [
        *((form, {}) for form in (*FORMS, "one_class")),
        *((form, {"rank": 0}) for form in ("shared_hierarchical", "deep")),
        *((form, {"bias": "standardised"}) for form in ("table", "folded_deep")),
        *((form, {"fold_kernels": True}) for form in ("folded", "one_class")),
    ],
    ids=str,
)
def test_it_starts_at_the_source(form, settings):
    source = source_of(form)
    method, networks = built(form, settings)
    k = old_classes(Z, source.spec.num_classes)
    expected = ops.convert_to_numpy(source.generator(Z, k)[0])
    assert form == "one_class" or len(set(k)) > 1
    extended = method.extended(networks)
    assert extended.spec.modulation_rank == (4 if settings in ({}, {"bias": "standardised"}) else 0)
    np.testing.assert_allclose(extended(Z, LABELS), expected, atol=1e-5)
    t = networks["task_net"](ONE_HOT)
    np.testing.assert_allclose(networks.generator(Z, t)[0], expected, atol=1e-5)


def test_statistics_are_those_at_the_sources_truncation():
    method = method_of()
    method.config.source_truncation = 0.5
    networks = method.build((source_of("truncation_grid"),), TARGET)
    source = source_of("truncation_grid").generator
    expected = source(Z, old_classes(Z, 5), truncation=0.5)[0]
    extended = method.extended(networks)
    np.testing.assert_allclose(extended(Z, LABELS), expected, atol=1e-5)
    np.testing.assert_allclose(extended(Z, LABELS, 1.0), expected, atol=1e-5)


def test_classes_are_equal_before_training_unless_there_is_noise():
    zeros, ones = np.zeros(6, np.int32), np.ones(6, np.int32)
    for noise in (0.0, 0.05):
        method, networks = built(settings={"start": "normal", "class_noise": noise})
        extended = method.extended(networks)
        difference = np.abs(extended(Z, zeros) - extended(Z, ones)).max()
        assert (difference == 0) == (noise == 0)


@pytest.mark.parametrize(("form", "rank"), [("deep", 2), ("folded", 0), ("one_class", 2)])
def test_the_alignment_is_zero_at_the_identity(form, rank):
    for start in ("identity", "normal"):
        settings = {"rank": rank, "start": start, "self_initialisation_steps": 2}
        method, networks = built(form, settings)
        stage, _ = method.stages(networks)
        terms = minimized(networks, stage)
        blocks = len(networks.generator.blocks)
        assert list(terms) == [f"align_block_{i}" for i in range(blocks)]
        assert (sum(terms.values()) < 1e-4) == (start == "identity")


# What is trained.


@pytest.mark.parametrize("rank", [0, 2])
def test_heads_task_network_and_all_but_ds_first_layers_are_trained(rank):
    method, networks = built(settings={"rank": rank})
    (stage,) = method.stages(networks)
    trained = {v.path for v in trained_of(networks, stage, "generator")}
    assert len(trained) == 2 * 2 * (5 if rank else 2)
    assert all("_head/" in path for path in trained)
    assert len(trained_of(networks, stage, "task_net")) == 9
    names = {v.path.partition("/")[2] for v in trained_of(networks, stage, "discriminator")}
    everything = {v.path.partition("/")[2] for v in networks.discriminator.trainable_variables}
    first = {f"block_0/{layer}/{v}" for layer in ("conv1", "shortcut") for v in ("kernel", "bias")}
    assert everything - names == first
    rates = {part.network: part.optimizer.learning_rate for part in stage.phases[1].trained}
    assert rates == pytest.approx({"generator": 0.02, "task_net": 0.0002})


def test_a_linear_head_a_class():
    method, networks = built(settings={"head": "multi_head", "freeze_first": False})
    (stage,) = method.stages(networks)
    names = {v.path.partition("/")[2] for v in trained_of(networks, stage, "discriminator")}
    everything = {v.path.partition("/")[2] for v in networks.discriminator.trainable_variables}
    assert everything - names == {"linear/kernel", "linear/bias"}


# Runs.


def prepared(directory, settings=None, form="shared_hierarchical", score=None, **training):
    method = method_of(settings, **training)
    config = method.config
    keras.utils.set_random_seed(config.seed)
    config.evaluation.every = 2 if score else 0
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    with strategy.scope():
        networks = method.build((source_of(form),), TARGET)
    images = np.random.default_rng(2).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    data = ImageSet(images, np.arange(12, dtype=np.int32) % 3, TARGET.class_names, "random")
    run = RunDir(directory)
    run.open(config, TARGET.class_names)
    return TrainingRun(config, run, strategy, method, networks, data, score)


def ema_images(training):
    with training.state.holding_ema():
        networks = training.networks
        return ops.convert_to_numpy(networks.generator(Z, networks["task_net"](ONE_HOT))[0])


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(False, id="factors"),
        pytest.param(True, id="kernels", marks=pytest.mark.slow),
    ],
)
def trained(request, tmp_path_factory):
    """A finished run, values of its networks before it, and what was scored."""
    scored = {}

    def score(extended):
        step = int(training.state.step.numpy())
        scored[step] = ops.convert_to_numpy(extended(Z, LABELS))
        return lambda: {"fid": 10.0 - step}

    settings = {"fold_kernels": request.param, "rank": 2, "task_lr_factor": 1.0}
    directory = tmp_path_factory.mktemp(NAME) / "run"
    training = prepared(directory, settings, score=score)
    before = {name: values(network) for name, network in training.networks.named.items()}
    training.train()
    return training, before, scored


def test_training_reaches_heads_and_task_network_alone(trained):
    training, before, _ = trained
    statistics = ("moving_mean", "moving_variance")
    for name in ("generator", "task_net"):
        for key, value in values(training.networks[name]).items():
            moves = name == "task_net" or "_head/" in key or key.endswith(statistics)
            assert moves != np.array_equal(value, before[name][key]), key
    # The rows of classes that were drawn moved, each its own way.
    rows = values(training.networks["task_net"])["embeddings"] - before["task_net"]["embeddings"]
    moved = rows[np.abs(rows).max(axis=1) > 0]
    assert len(moved) >= 2 and not np.allclose(moved[0], moved[1])


def test_a_snapshot_is_the_ema_of_the_networks(trained):
    training, _, scored = trained
    expected = ema_images(training)
    snapshot = open_snapshot(str(training.run.path), "last")
    spec = snapshot.gan.spec
    folded = training.method.settings.fold_kernels
    assert (spec.wrapper, spec.table_classes) == ("modulated", 5)
    assert spec.modulation_rank == (0 if folded else 2)
    np.testing.assert_allclose(snapshot.extended()(Z, LABELS), expected, atol=1e-4)
    np.testing.assert_allclose(scored[3], expected, atol=1e-4)
    assert np.abs(scored[3] - scored[0]).max() > 1e-2
    # Its kernels are the classes' own: there is none left to modulate.
    with pytest.raises(InputError, match="table of classes, got one that is modulated"):
        method_of().build((snapshot.gan,), dataclasses.replace(TARGET, class_names=("u",)))


def test_it_is_exported(trained, tmp_path):
    training, _, _ = trained
    extended = open_snapshot(str(training.run.path), "last").extended()
    served = load_saved_model(export_saved_model(extended, tmp_path))
    images = served.signatures["from_latent"](
        label=tf.constant(LABELS, tf.int64), z=tf.constant(Z)
    )["image"]
    np.testing.assert_allclose(images, ema_images(training), atol=1e-4)
    with pytest.raises(InputError, match="this one is modulated: give labels"):
        extended(Z, np.full((6, 3), 1 / 3, np.float32))


@pytest.mark.parametrize("form", ["table", "deep", "folded"])
def test_both_forms_give_the_same_images(form):
    """Of networks as far from their start as random values are."""
    method, networks = built(form, {"start": "normal", "class_noise": 1.0})
    factors = method.extended(networks)
    method.settings.fold_kernels = True
    kernels = method.extended(networks)
    assert (factors.spec.modulation_rank, kernels.spec.modulation_rank) == (4, 0)
    expected = networks.generator(Z, networks["task_net"](ONE_HOT))[0]
    np.testing.assert_allclose(factors(Z, LABELS), expected, atol=1e-4)
    np.testing.assert_allclose(kernels(Z, LABELS), expected, atol=1e-4)


def published():
    """The method's settings of the flagfile with those of the authors' code."""
    path = Path(__file__).parents[2] / "configs" / "faithful" / f"{NAME}.flags"
    knob = f"--config.{NAME}."
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = [line.removeprefix(knob).split("=") for line in lines if line.startswith(knob)]
    default = registry.method_type(NAME).Settings()
    return {key: type(getattr(default, key))(value) for key, value in pairs}


@pytest.mark.slow
def test_self_initialisation_learns_the_source_and_makes_classes_alike(tmp_path):
    settings = {**published(), "self_initialisation_steps": 12}
    assert (settings["rank"], settings["head"], settings["contrastive"]) == (0, "multi_head", 0.01)
    options = {"steps": 1, "checkpoint_every": 12, "r1_gamma": 10.0, "r1_every": 1}
    training = prepared(tmp_path / "run", settings, **options)
    training.train()
    records = training.run.read_stats()
    losses = [r["loss"] for r in records if r.get("stage") == "self_initialisation"]
    assert len(losses) == 12 and losses[-1] < 0.9 * losses[0]
    (last,) = [r for r in records if r.get("stage") == "transfer"]
    assert {"contrastive", "r1", "discriminator_loss", "generator_loss"} <= last.keys()
    rows = values(training.networks["task_net"])["embeddings"]
    # One step of 0.02 * 0.001 from the same row.
    assert 0 < np.abs(rows - rows[:1]).max() < 1e-4


@pytest.mark.slow
def test_it_is_resumed_at_the_border_of_its_stages(tmp_path, monkeypatch):
    settings = {"rank": 1, "start": "normal", "self_initialisation_steps": 3}
    whole = prepared(tmp_path / "whole", settings)
    whole.train()

    class Stop(Exception):
        pass

    complete = Checkpoints.complete

    def stops(self):
        complete(self)
        if saved.run.saved_steps()[-1] == 3:
            raise Stop

    saved = prepared(tmp_path / "run", settings)
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "complete", stops)
        with pytest.raises(Stop):
            saved.train()
    resumed = prepared(tmp_path / "run", settings)
    resumed.train()
    for name, network in whole.networks.named.items():
        found = values(resumed.networks[name])
        for key, value in values(network).items():
            np.testing.assert_array_equal(found[key], value, err_msg=f"{name}/{key}")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["folded_deep", "one_class"])
def test_a_step_of_other_sources(form, tmp_path):
    training = prepared(tmp_path / "run", form=form, steps=1)
    before = values(training.networks.generator)
    training.train()
    after = values(training.networks.generator)
    assert any(not np.array_equal(after[k], before[k]) for k in after if "_head/" in k)


# Settings and errors.


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("rank", -1, "must be at least 0, got -1"),
        ("task_width", 0, "must be at least 1, got 0"),
        ("task_lr_factor", -0.1, "must be at least 0, got -0.1"),
        ("class_noise", -1.0, "must be at least 0, got -1.0"),
        ("contrastive", -1.0, "must be at least 0, got -1.0"),
        ("self_initialisation_steps", -1, "must be at least 0, got -1"),
        ("start", "zeros", "must be one of identity, normal, got 'zeros'"),
        ("bias", "none", "must be one of source, standardised, got 'none'"),
        ("loss", "wgan", "must be one of hinge, softplus, got 'wgan'"),
        ("head", "logits", "must be one of projection, multi_head, got 'logits'"),
    ],
)
def test_settings_out_of_range(field, value, message):
    with pytest.raises(InputError, match=rf"--config.{NAME}.{field} {message}"):
        method_of({field: value})


def test_sources_that_do_not_fit():
    with pytest.raises(InputError, match="at least one new class, got none"):
        built(target=dataclasses.replace(TARGET, class_names=()))
    with pytest.raises(InputError, match="the source's resolution 8, got 16"):
        built(target=dataclasses.replace(TARGET, resolution=16))
    whole = source_of("table")
    blind = Gan(whole.spec, whole.generator, None, whole.class_names)
    with pytest.raises(InputError, match="the source has no discriminator"):
        method_of().build((blind,), TARGET)
    method = method_of()
    method.config.discriminator.warmup_steps = 2
    networks = method.build((blind,), TARGET)
    warm_up, _ = method.stages(networks)
    # Nothing of a fresh one is frozen.
    trained = trained_of(networks, warm_up, "discriminator")
    assert len(trained) == len(networks.discriminator.trainable_variables)
