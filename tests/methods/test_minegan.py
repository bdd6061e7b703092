"""MineGAN with one source: settings, starts, what each stage trains, and what is exported."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from tiny_sources import FORMS, TARGET, normal, tiny_source, trained_variables, values

from cgt_tf.config import TrainingConfig
from cgt_tf.data.image_set import ImageSet
from cgt_tf.errors import InputError
from cgt_tf.export.saved_model import export_saved_model
from cgt_tf.export.served import load_saved_model
from cgt_tf.methods import registry
from cgt_tf.methods.base import DataSpec
from cgt_tf.methods.discriminant import nearest_classes
from cgt_tf.methods.phases import Microbatch, Stage
from cgt_tf.networks.gan import Gan
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.runs.snapshots import open_snapshot
from cgt_tf.training.draws import Draws
from cgt_tf.training.loop import TrainingRun

Z = normal(3, 8)
LABELS = np.array([2, 0, 1], np.int32)
ONE_HOT = np.eye(3, dtype=np.float32)[LABELS]
ONE = DataSpec(("x",), 8)
IMAGES = np.random.default_rng(2).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)


def data_of(target):
    labels = np.arange(len(IMAGES), dtype=np.int32) % len(target.class_names)
    return ImageSet(IMAGES, labels, target.class_names, "random")


def method_of(settings=None, **groups):
    config = registry.create_config("minegan", settings, **groups)
    registry.validate(config)
    return registry.create_method(config)


def built(settings=None, form="shared_hierarchical", target=TARGET, **groups):
    """Method and networks, prepared."""
    method = method_of(settings, **groups)
    networks = method.build((tiny_source(form),), target)
    method.prepare(networks, data_of(target))
    return method, networks


def gradients(networks, phase, step=0):
    """Terms of a phase in a pass of four images, and the gradients of what it trains."""
    labels = np.arange(4, dtype=np.int32) % networks.spec.num_classes
    given = Microbatch(
        networks=networks,
        step=tf.constant(step, tf.int64),
        update=tf.constant(0, tf.int64),
        images=tf.constant(IMAGES[:4] / 127.5 - 1, tf.float32),
        labels=tf.constant(labels),
        indices=tf.range(4, dtype=tf.int64),
        draws=Draws(0, 4, tf.distribute.get_strategy()).of_microbatch(tf.constant(0, tf.int64)),
        augment=lambda images, stream: images,
    )
    stage = Stage("one", 1, (phase,))
    names = dict.fromkeys(part.network for part in phase.trained)
    variables = [v for name in names for v in trained_variables(networks, stage, name)]
    with tf.GradientTape() as tape:
        terms = phase.loss(given)
        loss = sum(terms.minimized.values())
    found = tape.gradient(loss, [v.value for v in variables])
    return terms, dict(zip((v.path for v in variables), found, strict=True))


# Settings.


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": "all"}, "classes must be one of per_class, miners_shared_g, .*, got 'all'"),
        ({"start": "zeros"}, "start must be one of default, orthogonal, identity, got 'zeros'"),
        ({"head": "affine"}, "head must be one of logits, unconditional, projection, got 'affine'"),
        ({"statistics": "both"}, "statistics must be one of source, batch, got 'both'"),
        ({"loss": "wgan"}, "loss must be one of softplus, hinge, got 'wgan'"),
        ({"selector": "max"}, "selector must be one of classifier, frequency, got 'max'"),
        ({"mine_steps": -1}, "mine_steps must be at least 0, got -1"),
        ({"nearest_classes": 0}, "nearest_classes must be at least 1, got 0"),
        ({"old_classes": 1}, "old_classes must be at least 2, got 1"),
        ({"relu": True}, "start=identity needs relu=False, got True"),
        (
            {"class_start": "nearest", "start": "default"},
            "class_start=nearest needs start=identity, got default",
        ),
        (
            {"class_start": "nearest", "classes": "conditional"},
            "class_start=nearest needs a miner a class, got classes=conditional",
        ),
        (
            {"classes": "pooled"},
            "classes=pooled has no labels and needs head=unconditional, got logits",
        ),
        ({"old_classes": 2, "sources": ("a", "b")}, "old_classes needs one source, got 2"),
        (
            {"old_classes": 2, "class_start": "nearest"},
            "class_start=nearest needs mined class vectors, which those of old_classes are not",
        ),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(InputError, match=f"^--config.minegan.{message}$"):
        method_of(settings)


def test_classes_are_not_ramped_in_a_miner():
    with pytest.raises(InputError, match="ramp_generator=False is needed"):
        method_of(training=TrainingConfig(ramp_end=5))
    method_of(training=TrainingConfig(ramp_end=5, ramp_generator=False))


def test_one_class_a_run_means_one():
    with pytest.raises(InputError, match="one new class for classes=per_class, got 3: choose one"):
        built({"classes": "per_class"})
    built({"classes": "per_class"}, target=ONE)


def test_no_class():
    with pytest.raises(InputError, match="at least one new class, got none"):
        method_of().build((tiny_source("table"),), DataSpec((), 8))


def test_a_source_without_discriminator():
    source = tiny_source("shared_hierarchical")
    bare = Gan(source.spec, source.generator, None, source.class_names)
    with pytest.raises(InputError, match="the source has no discriminator"):
        method_of().build((bare,), TARGET)


# The miner.

MODES = {
    "miners_shared_g": {},
    "conditional": {"classes": "conditional"},
    "pooled": {"classes": "pooled", "head": "unconditional"},
    "relu": {"start": "default", "relu": True},
    "orthogonal": {"start": "orthogonal"},
    "plain": {"spectral_norm": False, "start": "default"},
    "conditional_relu": {"classes": "conditional", "start": "default", "relu": True},
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", ["shared_hierarchical", "table"])
def test_folding_keeps_what_is_mined(mode, form):
    method, networks = built(MODES[mode], form)
    miner = networks["miner"]
    for i, variable in enumerate(miner.trainable_variables):
        variable.assign(variable + 0.3 * normal(*variable.shape, seed=i))
    folded = method.extended(networks).generator.miner
    (z, given), (other, again) = miner(Z, ONE_HOT), folded(Z, ONE_HOT)
    np.testing.assert_allclose(z, other, atol=1e-4)
    for a, b in zip(given, again, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, atol=1e-4)
    if form == "table":
        np.testing.assert_allclose(ops.sum(given.classes, axis=-1), 1, atol=1e-6)
    assert (len(folded.maps("latent")) == 4) == ("relu" in mode)


def test_the_identity_starts_in_the_source():
    _, networks = built()
    z, given = networks["miner"](Z, ONE_HOT)
    np.testing.assert_allclose(z, Z, atol=1e-6)
    table = tiny_source("shared_hierarchical").generator.class_embedding.table()
    distance = np.linalg.norm(given.embedding - np.mean(table, axis=0), axis=-1)
    # Four layers keep the length of z, of which the last class layer takes a fiftieth.
    np.testing.assert_allclose(distance, 0.02 * np.linalg.norm(Z, axis=-1), rtol=0.5)
    _, networks = built(form="table")
    weights = networks["miner"](Z, ONE_HOT)[1].classes
    np.testing.assert_allclose(weights, np.full((3, 5), 0.2), atol=0.02)


@pytest.mark.parametrize("form", ["shared_hierarchical", "table"])
def test_the_identity_starts_at_the_nearest_classes(form):
    _, networks = built({"class_start": "nearest", "nearest_classes": 2}, form)
    source = tiny_source(form)
    given = networks["miner"](np.zeros_like(Z), ONE_HOT)[1]
    chosen = nearest_classes(source, data_of(TARGET), 2)
    for row, label in enumerate(LABELS):
        if form == "table":
            weights = given.classes[row].numpy()
            assert set(np.argsort(-weights)[:2]) == set(chosen[label])
            assert weights[chosen[label]].sum() > 0.9
        else:
            table = source.generator.class_embedding.table().numpy()
            expected = table[chosen[label]].mean(axis=0)
            np.testing.assert_allclose(given.embedding[row], expected, atol=1e-5)


@pytest.mark.parametrize("start", ["default", "orthogonal"])
def test_the_released_starts(start):
    _, networks = built({"start": start})
    for chain in (networks["miner"].latent, networks["miner"].vector):
        for layer in chain:
            count, fan_in, units = layer.kernel.shape
            bias = np.abs(layer.bias)
            assert bias.max() <= fan_in**-0.5 and bias.max() > 0.3 * fan_in**-0.5
            assert count == 3 and not np.allclose(layer.kernel[0], layer.kernel[1])
            if start == "default":
                assert np.abs(layer.kernel).max() <= fan_in**-0.5
                continue
            for kernel in layer.kernel.numpy():
                product = kernel @ kernel.T if fan_in <= units else kernel.T @ kernel
                np.testing.assert_allclose(product, np.eye(min(fan_in, units)), atol=1e-5)


# Training.

CASES = [
    *((form, {}, TARGET) for form in FORMS),
    *(("shared_hierarchical", MODES[mode], TARGET) for mode in ("conditional", "pooled", "relu")),
    *(("table", {"classes": c}, t) for c, t in (("per_class", ONE), ("conditional", TARGET))),
    ("shared_hierarchical", {"classes": "per_class", "head": "unconditional"}, ONE),
    ("shared_hierarchical", {"loss": "hinge", "head": "unconditional"}, TARGET),
    ("table", {"loss": "hinge", "head": "projection"}, TARGET),
    ("folded", {"classes": "pooled", "head": "unconditional", "statistics": "batch"}, TARGET),
    ("table", {"old_classes": 3}, TARGET),
    ("shared_hierarchical", {"old_classes": 2, "selector": "frequency"}, TARGET),
]


@pytest.mark.parametrize(("form", "settings", "target"), CASES)
def test_every_trained_variable_has_a_gradient(form, settings, target):
    method, networks = built(settings, form, target)
    stages = method.stages(networks)
    assert [(stage.name, stage.steps) for stage in stages] == [("mine", 300), ("joint", 1000)]
    for phase in {phase.name: phase for stage in stages for phase in stage.phases}.values():
        terms, found = gradients(networks, phase)
        assert all(np.isfinite(value) for value in terms.minimized.values())
        assert all(value is not None for value in found.values())
        if not settings.get("old_classes"):
            assert any(np.abs(tf.convert_to_tensor(value)).max() > 0 for value in found.values())
    mine, joint = stages
    assert not trained_variables(networks, mine, "generator")
    left_out = {v.path for v in networks.generator.trainable_variables}
    left_out -= {v.path for v in trained_variables(networks, joint, "generator")}
    embeds = networks.generator.spec.embeds_vectors
    assert left_out == ({"generator/class_embedding/embeddings"} if embeds else set())
    unused = method.settings.head == "unconditional"
    for stage in stages:
        paths = {v.path for v in trained_variables(networks, stage, "discriminator")}
        assert ("discriminator/class_projection/embeddings" in paths) != unused


def test_no_first_stage_and_a_warm_up():
    method, networks = built({"mine_steps": 0})
    assert [stage.name for stage in method.stages(networks)] == ["joint"]
    method.config.discriminator.warmup_steps = 5
    stages = method.stages(networks)
    assert [(stage.name, stage.steps) for stage in stages] == [("warm_up", 5), ("joint", 1000)]


def test_the_miner_has_a_step_size_of_its_own():
    method, networks = built({"miner_learning_rate": 0.5})
    for stage in method.stages(networks):
        rates = {part.network: part.optimizer.learning_rate for part in stage.phases[-1].trained}
        assert rates == {"miner": 0.5, "generator": 1e-4} if len(rates) > 1 else {"miner": 0.5}
    method, networks = built()
    (part,) = method.stages(networks)[0].phases[-1].trained
    assert part.optimizer.learning_rate == 1e-4


@pytest.mark.parametrize("statistics", ["source", "batch"])
def test_the_first_stage_leaves_the_generator_as_it_is(statistics):
    method, networks = built({"statistics": statistics})
    before, vectors = values(networks.generator), values(networks["miner"])
    for phase in method.stages(networks)[0].phases:
        gradients(networks, phase)
    after = values(networks.generator)
    changed = {name.rpartition("/")[2] for name in before if (before[name] != after[name]).any()}
    moving = {"moving_mean", "moving_variance", "u"}
    assert changed == (set() if statistics == "source" else moving)
    assert (values(networks["miner"])["latent_0/u"] != vectors["latent_0/u"]).any()


def test_truncation_chooses_the_sources_statistics():
    def statistics(truncation):
        return built(form="truncation_grid", source_truncation=truncation)[1].generator

    source = tiny_source("truncation_grid").generator.blocks[0].norm1.moving_mean
    for truncation, expected in ((0.5, source[1]), (0.75, (source[1] + source[2]) / 2)):
        found = statistics(truncation).blocks[0].norm1.moving_mean
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run of both stages."""
    config = registry.create_config("minegan", {"mine_steps": 2}, seed=3)
    config.training = TrainingConfig(
        steps=2, batch_size=4, log_every=1, sample_every=2, ema_decay=0.5
    )
    config.evaluation.every = 0
    config.generator.learning_rate = 0.02
    method, strategy = registry.create_method(config), tf.distribute.OneDeviceStrategy("/cpu:0")
    with strategy.scope():
        networks = method.build((tiny_source("shared_hierarchical"),), TARGET)
    run = RunDir(tmp_path_factory.mktemp("minegan") / "run")
    run.open(config, TARGET.class_names)
    training = TrainingRun(config, run, strategy, method, networks, data_of(TARGET))
    training.train()
    return training


def ema_images(training):
    with training.state.holding_ema():
        mined = training.networks["miner"](Z, ONE_HOT)
        return ops.convert_to_numpy(training.networks.generator(*mined)[0])


def test_a_snapshot_is_the_ema_behind_its_miner(trained, tmp_path):
    records = [r for r in trained.run.read_stats() if "generator_loss" in r]
    assert [r["stage"] for r in records] == ["mine", "mine", "joint", "joint"]
    snapshot = open_snapshot(str(trained.run.path), "last")
    assert snapshot.gan.spec.wrapper == "mined"
    assert snapshot.gan.class_names == list(TARGET.class_names)
    expected = ema_images(trained)
    np.testing.assert_allclose(snapshot.extended()(Z, LABELS), expected, atol=1e-5)
    served = load_saved_model(export_saved_model(snapshot.extended(), tmp_path))
    images = served.signatures["from_latent"](
        label=tf.constant(LABELS, tf.int64), z=tf.constant(Z)
    )["image"]
    np.testing.assert_allclose(images, expected, atol=1e-5)
