"""MineGAN with several sources, or several classes of one: who wins, who learns, who is picked."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from test_minegan import LABELS, data_of, gradients, method_of
from tiny_sources import TARGET, normal, randomize, tiny_source

from cgt_tf.config import TrainingConfig
from cgt_tf.errors import InputError
from cgt_tf.export.saved_model import export_saved_model
from cgt_tf.export.served import load_saved_model
from cgt_tf.formats.native import read_model, save_model
from cgt_tf.methods import registry
from cgt_tf.methods.competition import winners
from cgt_tf.methods.discriminant import nearest_classes
from cgt_tf.methods.transfer import check_transfer
from cgt_tf.networks.extended import extended_from
from cgt_tf.networks.gan import Gan, create_gan
from cgt_tf.networks.selector import picked
from cgt_tf.networks.standing import estimate_statistics
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.runs.snapshots import open_snapshot
from cgt_tf.training.loop import TrainingRun

SOURCES = {"sources": ("model:a", "model:b")}
Z = normal(64, 8, seed=7)
MANY = np.resize(LABELS, len(Z))
MANY_HOT = np.eye(3, dtype=np.float32)[MANY]


@functools.cache
def second(form="shared_hierarchical", **changes):
    """A source of four other classes, of the form of the first but for the changes."""
    spec = dataclasses.replace(tiny_source(form).spec, num_classes=4, **changes)
    gan = create_gan(spec, [f"second{i}" for i in range(4)])
    randomize(gan.generator)
    for variable in gan.generator.variables:
        if variable.name != "moving_variance":
            variable.assign(variable + 0.2 * normal(*variable.shape, seed=99))
    return gan


def built(settings=None, form="shared_hierarchical"):
    method = method_of({**SOURCES, **(settings or {})})
    networks = method.build((tiny_source(form), second(form)), TARGET)
    method.prepare(networks, data_of(TARGET))
    return method, networks


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"resolution": 16, "g_widths": (8, 8, 8), "dim_z": 12}, "resolution 8 of .* and 16 of"),
        ({"dim_z": 10}, "dim_z 8 of model:a and 10 of model:b"),
        ({"shared_dim": 4}, "shared_dim 6 of model:a and 4 of model:b"),
        ({"g_widths": (8, 4)}, r"g_widths \(8, 8\) of model:a and \(8, 4\) of model:b"),
    ],
)
def test_sources_of_other_shapes(changes, message):
    method = method_of(SOURCES)
    with pytest.raises(InputError, match=f"expected sources of equal shape, got {message}"):
        method.build((tiny_source("shared_hierarchical"), second(**changes)), TARGET)


def test_more_old_classes_than_there_are():
    with pytest.raises(InputError, match="at most the source's 5, got 6"):
        method_of({"old_classes": 6}).build((tiny_source("table"),), TARGET)


def test_new_classes_that_the_second_source_has():
    method, target = method_of(SOURCES), dataclasses.replace(TARGET, class_names=("second1",))
    with pytest.raises(InputError, match="got classes of the source: second1"):
        method.build((tiny_source("shared_hierarchical"), second()), target)


def brightness(images, labels, training=False):
    """A critic whose every output is the mean of an image."""
    del labels, training
    logits = ops.mean(images, axis=(1, 2, 3))
    return logits, {"unconditional": logits, "projection": logits}


@pytest.mark.parametrize("form", ["shared_hierarchical", "table"])
def test_who_loses_learns_nothing(form):
    method, networks = built(form=form)
    networks.discriminator = brightness
    # One branch is brighter in every image, then the other.
    for winner, loser in ((0, 1), (1, 0)):
        networks[method.branches[winner][0]].output_conv.bias.assign([1.0] * 3)
        networks[method.branches[loser][0]].output_conv.bias.assign([-9.0] * 3)
        for stage in method.stages(networks):
            _, found = gradients(networks, stage.phases[1])
            sizes = {True: 0.0, False: 0.0}
            for path, gradient in found.items():
                wins = path.partition("/")[0] in method.branches[winner]
                sizes[wins] = max(sizes[wins], np.abs(tf.convert_to_tensor(gradient)).max())
            assert sizes[True] > 0 and sizes[False] == 0


def test_each_sample_has_its_own_winner():
    method, networks = built()
    made = [
        ops.convert_to_numpy(networks[g](*networks[m](Z, MANY_HOT))[0]) for g, m in method.branches
    ]
    logits = tf.stack([networks.discriminator(x, MANY)[0] for x in made], -1)
    choice = winners(logits)
    assert 0 < tf.reduce_sum(choice[:, 0]) < len(Z)
    expected = [made[k][i] for i, k in enumerate(np.argmax(logits, -1))]
    np.testing.assert_array_equal(picked(made, choice), expected)


# Selectors.


def test_the_classifier_learns_the_winners_from_its_start_on():
    method, networks = built({"selector_start": 10})
    phase = method.stages(networks)[0].phases[-1]
    assert phase.name == "select" and [part.network for part in phase.trained] == ["selector"]
    terms, found = gradients(networks, phase, step=9)
    assert terms.minimized["selection_loss"] == 0
    assert all(not np.any(gradient) for gradient in found.values())
    terms, found = gradients(networks, phase, step=10)
    assert terms.minimized["selection_loss"] > 0
    assert all(np.any(gradient) for gradient in found.values())
    # Of what a known winner is, it is told.
    networks.discriminator = brightness
    networks["generator_1"].output_conv.bias.assign([9.0] * 3)
    networks["selector"].bias.assign([0.0, 50.0])
    terms, _ = gradients(networks, phase, step=10)
    assert float(terms.reported["selection_accuracy"]) == 1.0
    assert float(terms.minimized["selection_loss"]) < 1e-6


def test_frequencies_count_the_winners():
    method, networks = built({"selector": "frequency"})
    stage = method.stages(networks)[0]
    assert [phase.name for phase in stage.phases] == ["discriminator", "mine"]
    networks.discriminator = brightness
    networks["generator_1"].output_conv.bias.assign([9.0] * 3)
    counts = networks["selector"].counts
    gradients(networks, stage.phases[1])
    np.testing.assert_allclose(counts[:, 0], 0.99, rtol=1e-6)
    np.testing.assert_allclose(np.sum(counts[:, 1]), 3 * 0.99 + 4, rtol=1e-6)


def test_frequencies_are_drawn_from_the_latent():
    _, networks = built({"selector": "frequency"})
    selector, count = networks["selector"], 20000
    selector.counts.assign([[3.0, 1.0], [0.0, 5.0], [1.0, 1.0]])
    z = normal(count, 8, seed=5)
    for label, share in enumerate((0.75, 0.0, 0.5)):
        weights = np.eye(3, dtype=np.float32)[np.full(count, label)]
        first = ops.convert_to_numpy(selector(z, weights))[:, 0]
        # Four standard deviations of a mean of so many.
        assert abs(first.mean() - share) < 4 * (share * (1 - share) / count) ** 0.5 + 1e-9
        np.testing.assert_array_equal(selector(z, weights)[:, 0], first)
        if 0 < share < 1:
            correlations = [np.corrcoef(first, column)[0, 1] for column in z.T]
            assert np.abs(correlations).max() < 4 / count**0.5


# What is saved and exported.


def expected_images(method, networks):
    """Those of the branch that the selector picks, and its choice."""
    made = [networks[g](*networks[m](Z, MANY_HOT))[0] for g, m in method.branches]
    choice = ops.convert_to_numpy(networks["selector"](Z, MANY_HOT))
    return picked(made, choice), choice


@pytest.mark.parametrize(
    ("form", "settings", "wrapper"),
    [
        ("shared_hierarchical", SOURCES, "selected"),
        ("table", {"old_classes": 3, "selector": "frequency"}, "mined"),
    ],
)
def test_all_branches_and_the_selector_are_saved_and_exported(form, settings, wrapper, tmp_path):
    several = "sources" in settings
    method = method_of(settings)
    sources = (tiny_source(form), second(form)) if several else (tiny_source(form),)
    networks = method.build(sources, TARGET)
    method.prepare(networks, data_of(TARGET))
    extended = method.extended(networks)
    # `refresh` takes in what all of them have become.
    for name in method.ema_networks:
        for i, variable in enumerate(networks[name].variables):
            change = 0.1 * normal(*variable.shape, seed=i)
            variable.assign(variable + (abs(change) if variable.name != "u" else change))
    extended.refresh()
    expected, choice = expected_images(method, networks)
    assert (choice.sum(axis=0) > 0).all() and (choice.sum(axis=1) == 1).all()
    save_model(method.as_source(networks, extended), tmp_path / "model", {})
    read = read_model(tmp_path / "model")
    assert (read.spec.wrapper, read.spec.members) == (wrapper, choice.shape[1])
    assert read.spec.member_classes == ((5, 4) if several else ())
    gan = Gan(read.spec, read.generator, read.discriminator, read.class_names)
    again = extended_from(gan)
    np.testing.assert_allclose(again(Z, MANY), expected, atol=1e-5)
    served = load_saved_model(export_saved_model(again, tmp_path / "served"))
    found = served.signatures["from_latent"](label=tf.constant(MANY, tf.int64), z=tf.constant(Z))[
        "image"
    ]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    with pytest.raises(InputError, match=f"this one is {wrapper}: give labels"):
        again(Z, np.full((len(Z), 3), 1 / 3, np.float32))
    with pytest.raises(InputError, match=f"table of classes, got one that is {wrapper}"):
        check_transfer(gan, dataclasses.replace(TARGET, class_names=("u",)))
    if several:
        with pytest.raises(InputError, match="one generator for standing statistics, got one of"):
            estimate_statistics(gan.generator, [(Z, MANY)])


@pytest.mark.slow
@pytest.mark.parametrize("selector", ["classifier", "frequency"])
def test_a_run_with_two_sources(selector, tmp_path):
    settings = {**SOURCES, "mine_steps": 2, "selector": selector, "selector_start": 1}
    config = registry.create_config("minegan", settings, seed=3)
    config.training = TrainingConfig(
        steps=2, batch_size=4, accumulation=2, log_every=1, sample_every=2, ema_decay=0.5
    )
    config.evaluation.every = 0
    registry.validate(config)
    method, strategy = registry.create_method(config), tf.distribute.OneDeviceStrategy("/cpu:0")
    sources = (tiny_source("shared_hierarchical"), second())
    with strategy.scope():
        networks = method.build(sources, TARGET)
    run = RunDir(tmp_path / "run")
    run.open(config, TARGET.class_names)
    training = TrainingRun(config, run, strategy, method, networks, data_of(TARGET))
    training.train()
    with training.state.holding_ema():
        expected, _ = expected_images(method, networks)
    snapshot = open_snapshot(str(run.path), "last")
    np.testing.assert_allclose(snapshot.extended()(Z, MANY), expected, atol=1e-5)
    records = [r for r in run.read_stats() if "generator_loss" in r]
    assert len(records) == 4
    if selector == "classifier":
        assert [r["selection_loss"] > 0 for r in records] == [False, True, True, True]
    else:
        assert networks["selector"].counts.numpy().sum() > 6 * 0.9


def test_old_classes_that_compete_are_the_nearest_and_fixed():
    source, data = tiny_source("shared_hierarchical"), data_of(TARGET)
    method = method_of({"old_classes": 3})
    networks = method.build((source,), TARGET)
    method.prepare(networks, data)
    one = dataclasses.replace(data, labels=np.zeros_like(data.labels), class_names=("all",))
    table = source.generator.class_embedding.table().numpy()
    for (body, miner), row in zip(method.branches, nearest_classes(source, one, 3)[0], strict=True):
        given = networks[miner](Z, MANY_HOT)[1].embedding
        np.testing.assert_allclose(given, np.broadcast_to(table[row], given.shape), atol=1e-6)
        assert body == "generator" and not networks[miner].vector
