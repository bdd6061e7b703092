"""D3T-GAN: its teachers, its two terms, how classes start, and runs that are stopped and go on."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from tiny_sources import FORMS, TARGET, normal, tiny_source, trained_variables, values

from cgt_tf.config import TrainingConfig
from cgt_tf.data.image_set import ImageSet
from cgt_tf.errors import InputError
from cgt_tf.methods import inverted_images, registry
from cgt_tf.methods.adversarial import Judged
from cgt_tf.methods.base import DataSpec
from cgt_tf.methods.d3t_gan import D3TGAN
from cgt_tf.methods.distillation import drift
from cgt_tf.methods.feature_transfer import FeatureTransfer, Reconstructions, TransferSettings
from cgt_tf.methods.inversion import Codes, embeds
from cgt_tf.methods.phases import Microbatch
from cgt_tf.networks.gan import Gan, create_discriminator
from cgt_tf.networks.weights import variable_name
from cgt_tf.runs.handles import load_source
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.runs.snapshots import open_snapshot
from cgt_tf.training.draws import Draws
from cgt_tf.training.loop import TrainingRun

LABELS = np.array([2, 0, 1], np.int32)
Z = normal(3, 8)
FORM = "shared_hierarchical"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """The user's cache is not the tests'."""
    monkeypatch.setenv("CGT_TF_CACHE", str(tmp_path / "own_cache"))


def data_of(count=12):
    images = np.random.default_rng(2).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return ImageSet(images, np.arange(count, dtype=np.int32) % 3, TARGET.class_names, "random")


def config_of(settings=None, **groups):
    settings = {"inversion_steps": 2, "inversion_batch": 4, **(settings or {})}
    config = registry.create_config("d3t_gan", settings, **{"seed": 3, **groups})
    config.training = groups.get("training") or TrainingConfig(steps=4, batch_size=4)
    registry.validate(config)
    return config


def method_of(settings=None, **groups):
    return D3TGAN(config_of(settings, **groups))


def fake_codes(spec, count, seed=0):
    """Codes of images that nothing was inverted for."""
    weights = np.abs(normal(count, spec.num_classes, seed=seed))
    weights /= weights.sum(axis=1, keepdims=True)
    width = spec.shared_dim if embeds(spec) else 0
    errors = np.linspace(0, 1, count, dtype=np.float32)
    return Codes(normal(count, 8, seed=seed + 1), weights, normal(count, width, seed=seed), errors)


@pytest.fixture
def without_inversion(monkeypatch):
    """Codes at no cost; the calls are counted."""
    calls = []

    def invert_images(source, images, settings, *, batch, cache):
        calls.append((len(images), settings))
        return fake_codes(source.spec, len(images))

    monkeypatch.setattr(inverted_images, "invert_images", invert_images)
    return calls


# Settings and sources that do not fit.


@pytest.mark.parametrize(
    "knob, value, message",
    [
        ("lambda_g", -1.0, "d3t_gan.lambda_g must be at least 0, got -1.0"),
        ("lambda_d", -0.1, "d3t_gan.lambda_d must be at least 0, got -0.1"),
        ("mmd_kappa", -1.0, "d3t_gan.mmd_kappa must be at least 0"),
        ("mmd_features", "pixels", "one of generator, source_discriminator, got 'pixels'"),
        ("class_init", "best", "one of inverted, mean_old, nearest, normal, got 'best'"),
        ("inversion_steps", 0, "d3t_gan.inversion_steps must be at least 1, got 0"),
        ("inversion_batch", 0, "d3t_gan.inversion_batch must be at least 1, got 0"),
        ("inversion_levels", -1, "d3t_gan.inversion_levels must be at least 0"),
        ("drop_worst", 1.0, r"d3t_gan.drop_worst must be in \[0, 1\), got 1.0"),
    ],
)
def test_knobs_out_of_range(knob, value, message):
    with pytest.raises(InputError, match=message):
        config_of({knob: value})


def test_a_discrepancy_needs_pairs():
    training = TrainingConfig(batch_size=1)
    with pytest.raises(InputError, match="batch_size must be at least 2, got 1"):
        config_of(training=training)
    config_of({"lambda_g": 0.0}, training=training)


def test_sources_and_classes_that_do_not_fit():
    source = tiny_source(FORM)
    lone = Gan(source.spec, source.generator, None, source.class_names)
    cases = [
        (lone, TARGET, {}, "source's discriminator, which this source lacks: give one"),
        (source, DataSpec(TARGET.class_names, 16), {}, "source's resolution 8, got 16"),
        (source, DataSpec((), 8), {}, "num_classes must be at least 1, got 0"),
        (source, TARGET, {"inversion_levels": 4}, "at most the 3 blocks .*, got 4"),
    ]
    for gan, target, settings, message in cases:
        with pytest.raises(InputError, match=message):
            method_of(settings).build((gan,), target)


def test_a_warm_up_does_not_replace_the_teacher():
    source = tiny_source(FORM)
    lone = Gan(source.spec, source.generator, None, source.class_names)
    method = method_of()
    method.config.discriminator.warmup_steps = 2
    with pytest.raises(InputError, match="give one with"):
        method.build((lone,), TARGET)


# What is built and prepared.


@pytest.mark.parametrize("form", FORMS)
def test_networks_start_from_the_source_and_classes_from_their_codes(form, without_inversion):
    source, data = tiny_source(form), data_of()
    method = method_of({"drop_worst": 0.3})
    networks = method.build((source,), TARGET)
    method.prepare(networks, data)
    assert [count for count, _ in without_inversion] == [12]
    (stage,) = method.stages(networks)
    assert list(networks.named) == ["generator", "discriminator"]
    for name, network in networks.named.items():
        assert trained_variables(networks, stage, name) == network.trainable_variables
    theirs = {id(v) for v in source.discriminator.variables}
    assert networks["source_discriminator"] is source.discriminator
    assert not theirs & {id(v) for v in networks.discriminator.variables}
    # Errors rise with the number: of each class' four images the last is left out.
    codes = fake_codes(source.spec, 12).take(np.arange(9))
    old, new = values(source.generator), values(networks.generator)
    for name in new:
        if name.rpartition("/")[2] not in ("embeddings", "scale_table", "shift_table"):
            continue
        vectors = codes.weights @ old[name]
        if name.startswith("class_embedding/") and embeds(source.spec):
            vectors = vectors + codes.offset
        expected = [vectors[i::3].mean(axis=0) for i in range(3)]
        np.testing.assert_allclose(new[name], expected, rtol=1e-4, atol=1e-6, err_msg=name)
    teacher = networks["reconstructions"]
    assert sorted(ops.convert_to_numpy(teacher.numbers)) == list(range(9))
    assert not teacher.trainable_variables


def test_features_are_those_of_the_reconstructions(without_inversion):
    source = tiny_source(FORM)
    method = method_of()
    networks = method.build((source,), TARGET)
    method.prepare(networks, data_of())
    teacher = networks["reconstructions"]
    codes = fake_codes(source.spec, 12)
    embedding = codes.weights @ values(source.generator)["class_embedding/embeddings"]
    given = inverted_images.embeds(source.spec) and embedding + codes.offset
    from cgt_tf.networks.conditioning import ClassInput

    block = source.generator(codes.z, ClassInput(embedding=given))[1]["block_0"].numpy()
    numbers = teacher.numbers.numpy()
    (found,) = teacher(np.arange(12))
    expected = np.concatenate([block.mean(axis=(1, 2)), block.std(axis=(1, 2))], axis=1)[numbers]
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_nothing_is_inverted_that_nothing_needs(without_inversion):
    for settings, count in (
        ({"lambda_g": 0.0, "class_init": "mean_old"}, 0),
        ({"lambda_g": 0.0}, 1),
        ({"class_init": "mean_old"}, 1),
    ):
        method = method_of(settings)
        networks = method.build((tiny_source(FORM),), TARGET)
        method.prepare(networks, data_of())
        assert len(without_inversion) == count, settings
        without_inversion.clear()


def test_codes_do_not_depend_on_the_seed_of_the_run(without_inversion):
    for seed in (1, 2):
        method = method_of(seed=seed)
        networks = method.build((tiny_source(FORM),), TARGET)
        method.prepare(networks, data_of())
    assert without_inversion[0] == without_inversion[1]


def test_the_worst_of_each_class_are_dropped():
    errors = np.array([0.5, 0.1, 0.9, 0.2, 0.3, 0.8])
    labels = np.array([0, 1, 0, 1, 0, 1])
    find = inverted_images.without_worst
    np.testing.assert_array_equal(find(errors, labels, 0.0), np.arange(6))
    np.testing.assert_array_equal(find(errors, labels, 0.4), [0, 1, 3, 4])
    np.testing.assert_array_equal(find(errors, labels, 0.99), [1, 4])
    np.testing.assert_array_equal(find(errors[:1], labels[:1], 0.99), [0])


# The terms.


def test_reconstructions_are_drawn_of_the_same_class_and_all_of_it():
    labels = np.array([2, 0, 2, 1, 2, 0])
    features = [np.arange(6, dtype=np.float32)[:, None]]
    teacher = Reconstructions(features, labels, np.arange(6), 3)
    wanted = np.repeat([0, 1, 2], 200).astype(np.int32)
    uniforms = np.tile(np.linspace(0, 1, 200, endpoint=False), 3).astype(np.float32)
    rows = teacher.draw(wanted, uniforms)
    numbers = ops.convert_to_numpy(teacher.numbers)[ops.convert_to_numpy(rows)]
    np.testing.assert_array_equal(labels[numbers], wanted)
    np.testing.assert_array_equal(ops.convert_to_numpy(teacher(rows)[0])[:, 0], numbers)
    counts = np.bincount(numbers)
    np.testing.assert_allclose(counts, [67, 100, 67, 200, 67, 100], atol=1)
    assert int(teacher.draw(np.array([2]), np.array([1.0], np.float32))[0]) == 5


def microbatch_of(networks, images=None, step=0):
    draws = Draws(0, 4, tf.distribute.get_strategy()).of_microbatch(tf.constant(5, tf.int64))
    return Microbatch(
        networks=networks,
        step=tf.constant(step, tf.int64),
        update=tf.constant(0, tf.int64),
        images=images,
        labels=None,
        indices=None,
        draws=draws,
        augment=lambda images, stream: images * (1.0 + stream),
    )


@functools.cache
def scene():
    """Networks that have drifted, and what there is to see of them."""
    method = method_of()
    networks = method.build((tiny_source(FORM),), TARGET)
    spec = networks.spec
    for variable in networks.discriminator.trainable_variables:
        variable.assign(variable * 1.1)
    levels = [np.abs(normal(9, 16, seed=8))]
    labels = np.arange(9) % 3
    networks.teachers["reconstructions"] = Reconstructions(levels, labels, np.arange(9), 3)
    labels = tf.constant([0, 1, 2, 1])
    z = normal(4, spec.dim_z)
    return networks, labels, z


def test_the_generators_term_compares_equal_classes():
    networks, labels, z = scene()
    generated = networks.generator(z, labels)
    judged = Judged(labels, z, generated, ())
    teacher = networks["reconstructions"]
    seen = []

    class Spy:
        def draw(self, wanted, uniforms):
            seen.append((wanted, teacher.draw(wanted, uniforms)))
            return seen[-1][1]

        def __call__(self, rows):
            return teacher(rows)

    spied = dataclasses.replace(networks, teachers={**networks.teachers, "reconstructions": Spy()})
    base = TransferSettings(lambda_g=1.0, lambda_d=0.0)
    terms = {}
    for name, settings, step in (
        ("plain", base, 0),
        ("twice", dataclasses.replace(base, lambda_g=2.0), 0),
        ("kappa", dataclasses.replace(base, kappa=1.0), 0),
        ("decayed", dataclasses.replace(base, decay_from=2, decay_steps=8), 4),
    ):
        transfer = FeatureTransfer(tiny_source(FORM), settings)
        microbatch = microbatch_of(spied, step=step)
        terms[name] = float(transfer.generator_terms(microbatch, judged)["mmd"])
    assert terms["twice"] == pytest.approx(2 * terms["plain"])
    assert terms["decayed"] == pytest.approx(0.75 * terms["plain"])
    assert terms["kappa"] != pytest.approx(terms["plain"], rel=1e-3)
    wanted, rows = seen[0]
    numbers = ops.convert_to_numpy(teacher.numbers)[ops.convert_to_numpy(rows)]
    np.testing.assert_array_equal(numbers % 3, wanted)
    off = FeatureTransfer(tiny_source(FORM), dataclasses.replace(base, lambda_g=0.0))
    assert off.generator_terms(microbatch_of(spied), judged) == {}


def test_features_of_the_source_discriminator_let_gradients_through():
    networks, labels, z = scene()
    settings = TransferSettings(lambda_g=1.0, lambda_d=0.0, source_discriminator=True)
    transfer = FeatureTransfer(tiny_source(FORM), settings)
    codes = fake_codes(tiny_source(FORM).spec, 9)
    _, levels = transfer.reconstruct(codes, 1.0, 4)
    assert [level.shape for level in levels] == [(9, 16)] * 3
    teachers = dict(networks.teachers)
    teachers["reconstructions"] = Reconstructions(levels, np.arange(9) % 3, np.arange(9), 3)
    with tf.GradientTape() as tape:
        generated = networks.generator(z, labels)
        tape.watch(generated[0])
        judged = Judged(labels, z, generated, ())
        given = microbatch_of(dataclasses.replace(networks, teachers=teachers))
        term = transfer.generator_terms(given, judged)["mmd"]
    assert float(tf.reduce_max(tf.abs(tape.gradient(term, generated[0])))) > 0


@pytest.mark.parametrize("logit", [False, True])
def test_distillation_is_of_the_augmented_images_and_the_trunk(logit):
    networks, labels, z = scene()
    source = tiny_source(FORM)
    settings = TransferSettings(lambda_g=0.0, lambda_d=3.0, distil_logit=logit)
    transfer = FeatureTransfer(source, settings)
    data = data_of()
    transfer.calibrate(data)
    real = tf.constant(data.images[:4] / np.float32(127.5) - 1)
    fake = networks.generator(z, labels)
    seen = tf.concat([real * 2.0, fake[0] * 3.0], axis=0)
    both = tf.concat([labels, labels], axis=0)
    judged = Judged(labels, z, fake, networks.discriminator(seen, both))
    table = networks.discriminator.class_projection.kernel
    with tf.GradientTape() as tape:
        judged = judged._replace(judged=networks.discriminator(seen, both))
        terms = transfer.discriminator_terms(microbatch_of(networks, real), judged)
    found = terms["distillation"]
    ours, theirs = judged.judged[1], source.discriminator(seen, np.zeros(8, np.int32))[1]
    all_images = data.images / np.float32(127.5) - 1
    scale = source.discriminator(all_images, np.zeros(12, np.int32))[1]
    names = [f"block_{i}" for i in range(3)] + ["unconditional"] * logit
    each = [
        np.mean((theirs[n].numpy() - ours[n].numpy()) ** 2) / np.var(scale[n].numpy())
        for n in names
    ]
    np.testing.assert_allclose(found, 3.0 * np.mean(each), rtol=1e-4)
    kernel = networks.discriminator.blocks[0].conv1.kernel
    gradients = tape.gradient(found, [kernel.value, table.value])
    assert gradients[0] is not None and gradients[1] is None


# Whole runs.


def run_of(directory, settings=None, seed=3, form=FORM, name="d3t_gan", steps=2, warmup=0):
    config = registry.create_config(name, settings or {}, seed=seed)
    config.training = TrainingConfig(
        steps=steps, batch_size=4, log_every=1, sample_every=0, checkpoint_every=1, ema_decay=0.5
    )
    config.evaluation.every = 0
    config.generator.learning_rate = 0.02
    config.discriminator.warmup_steps = warmup
    config.data.cache_dir = str(directory.parent / "cache")
    registry.validate(config)
    source = tiny_source(form)
    # Power vectors of new layers are random.
    keras.utils.set_random_seed(seed)
    method = registry.create_method(config)
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    with strategy.scope():
        networks = method.build((source,), TARGET)
    run = RunDir(directory)
    run.open(config, TARGET.class_names)
    return TrainingRun(config, run, strategy, method, networks, data_of())


INVERTED = {"inversion_steps": 3, "inversion_batch": 12}


@pytest.fixture(scope="module", params=[FORM, pytest.param("folded_deep", marks=pytest.mark.slow)])
def trained(request, tmp_path_factory):
    training = run_of(tmp_path_factory.mktemp("d3t") / "run", INVERTED, form=request.param)
    source = tiny_source(request.param)
    before = [values(source.generator), values(source.discriminator)]
    teacher = values(training.networks["reconstructions"])
    ours = {name: values(network) for name, network in training.networks.named.items()}
    training.train()
    return training, source, before, teacher, ours


def test_both_networks_learn_and_teachers_rest(trained):
    training, source, before, teacher, ours = trained
    for network, old in zip((source.generator, source.discriminator), before, strict=True):
        for name, value in values(network).items():
            np.testing.assert_array_equal(value, old[name], err_msg=name)
    for name, value in values(training.networks["reconstructions"]).items():
        np.testing.assert_array_equal(value, teacher[name], err_msg=name)
    for name, network in training.networks.named.items():
        for variable in network.trainable_variables:
            path = variable_name(variable)
            assert np.abs(variable.numpy() - ours[name][path]).max() > 0, path
    records = [r for r in training.run.read_stats() if "generator_loss" in r]
    assert all({"mmd", "distillation", "discriminator_loss"} <= r.keys() for r in records)
    # The first update of D sees a copy of the source.
    assert records[0]["distillation"] < 0.01 < records[-1]["distillation"]


def test_checkpoints_hold_no_teacher(trained):
    training = trained[0]
    names = tf.train.load_checkpoint(str(training.run.checkpoint_path(2)))
    assert not [n for n in names.get_variable_to_shape_map() if "reconstructions" in n]


def test_a_snapshot_is_the_ema(trained):
    training = trained[0]
    with training.state.holding_ema():
        expected = training.networks.generator(Z, LABELS)[0]
    snapshot = open_snapshot(str(training.run.path), "last")
    assert snapshot.gan.class_names == list(TARGET.class_names)
    np.testing.assert_allclose(snapshot.extended()(Z, LABELS), expected, atol=1e-5)
    again = load_source(f"run:{training.run.path}")
    assert again.discriminator.num_classes == 3


class Stopped(Exception):
    """Raised in the place of whatever ends a process."""


@pytest.mark.slow
def test_a_stopped_run_goes_on_with_the_codes_it_has(trained, tmp_path, monkeypatch, capsys):
    whole, source = trained[0], trained[1]
    form = next(f for f in FORMS if tiny_source(f) is source)
    keep = RunDir.keep_checkpoints

    def stop(directory, last, best):
        keep(directory, last, best)
        if directory.saved_steps()[-1] == 1:
            raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(RunDir, "keep_checkpoints", stop)
        run_of(tmp_path / "run", INVERTED, form=form).train()
    error = capsys.readouterr().err
    assert "inversion of 12 images: mean absolute error" in error
    (picture,) = tmp_path.glob("cache/inversions/*/picture-*.png")
    assert f"reconstructions, worst first: {picture}" in error
    # With codes at hand there is nothing to invert.
    monkeypatch.delattr("cgt_tf.methods.inversion_cache.Inverter")
    resumed = run_of(tmp_path / "run", INVERTED, form=form)
    assert resumed.run.saved_steps()[-1] == 1
    resumed.train()
    for name, network in resumed.networks.named.items():
        for path, value in values(network).items():
            np.testing.assert_array_equal(value, values(whole.networks[name])[path], err_msg=path)


@pytest.mark.slow
def test_without_its_terms_it_is_transfergan(tmp_path):
    ends = []
    for name, settings in (
        ("transfergan", {}),
        ("d3t_gan", {"lambda_g": 0.0, "lambda_d": 0.0, "class_init": "mean_old"}),
    ):
        training = run_of(tmp_path / name, settings, name=name)
        training.train()
        ends.append({k: values(network) for k, network in training.networks.named.items()})
    for name, network in ends[0].items():
        for path, value in network.items():
            np.testing.assert_array_equal(ends[1][name][path], value, err_msg=path)


# Drift of the discriminator.


def test_drift_is_relative_and_leaves_class_tables_out():
    source, images = tiny_source(FORM), normal(4, 8, 8, 3)
    copy = method_of().build((source,), TARGET).discriminator
    assert drift(source.discriminator, copy, images) == (0.0, 0.0)
    copy.class_projection.kernel.assign(copy.class_projection.kernel + 1.0)
    assert drift(source.discriminator, copy, images) == (0.0, 0.0)
    for variable in copy.trainable_variables:
        variable.assign(1.1 * variable)
    weights, features = drift(source.discriminator, copy, images)
    assert weights == pytest.approx(0.1, rel=1e-3) and features > 0
    other = create_discriminator(dataclasses.replace(source.spec, d_widths=(8, 8, 8, 16)))
    with pytest.raises(InputError, match="of the source's shape, got another"):
        drift(source.discriminator, other, images)


def test_distillation_keeps_the_discriminator_near_its_source(tmp_path, graph):
    """Of discriminators that are trained alone, in the warm-up, the features."""
    images = data_of().images / np.float32(127.5) - 1
    found = {}
    for weight in (0.0, 100.0):
        settings = {"lambda_d": weight, "lambda_g": 0.0, "class_init": "mean_old"}
        training = run_of(tmp_path / str(weight), settings, warmup=30)
        step, batches = training.make_step(), training.batches(training.spans[0], 0)
        step(batches, 30)
        networks = training.networks
        found[weight] = drift(networks["source_discriminator"], networks.discriminator, images)
    # Weights are not what it pulls at: Adam moves them as far either way.
    assert found[100.0][1] < 0.75 * found[0.0][1], found
