"""BSA: the loss's parts, what is trained at which learning rate, learning, resume, folding."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from tiny_sources import FORMS, TARGET, normal, tiny_source, trained_variables, values

from cgt_tf import config as configs
from cgt_tf.data.image_set import ImageSet
from cgt_tf.data.pipeline import to_uint8
from cgt_tf.errors import InputError
from cgt_tf.methods.base import DataSpec
from cgt_tf.methods.bsa import BSA
from cgt_tf.methods.perceptual import load_feature_maps
from cgt_tf.methods.phases import Microbatch
from cgt_tf.methods.reconstruction import earth_mover_distance
from cgt_tf.methods.registry import create_config, validate
from cgt_tf.methods.scaled_dense import ScaledDense
from cgt_tf.methods.transfergan import TransferGAN
from cgt_tf.networks.weights import variable_name
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.runs.snapshots import open_snapshot
from cgt_tf.training.loop import TrainingRun
from cgt_tf.training.state import PhaseOptimizer


def make_images(count=6):
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 2, 2, 3), dtype=np.uint8)
    images = coarse.repeat(4, axis=1).repeat(4, axis=2)
    labels = np.arange(count, dtype=np.int32) % 3
    return ImageSet(images, labels, TARGET.class_names, "made")


def make_config(**settings):
    config = create_config("bsa", settings, seed=3)
    config.training = configs.TrainingConfig(
        steps=4, batch_size=4, log_every=1, sample_every=0, checkpoint_every=2, ema_decay=0.0
    )
    config.generator.learning_rate = 5e-3
    return config


@functools.cache
def prepared(form):
    method = BSA(make_config())
    gan = method.build((tiny_source(form),), TARGET)
    method.prepare(gan, make_images())
    variables = [v for network in gan.named.values() for v in network.variables]
    return method, gan, [(v, ops.convert_to_numpy(v)) for v in variables]


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


def build(form):
    """The cached result, as it was built."""
    method, gan, initial = prepared(form)
    for variable, value in initial:
        variable.assign(value)
    return method, gan


def disturb(gan):
    for i, variable in enumerate(gan.generator.trainable_variables):
        variable.assign(variable + 0.1 * normal(*variable.shape, seed=i))


class Given:
    """Normal draws of a pass that are given."""

    def __init__(self, values):
        self._values = values

    def normal(self, *shape):
        assert self._values.shape[1:] == shape
        return self._values


def phase_of(method, gan):
    (stage,) = method.stages(gan)
    (phase,) = stage.phases
    return phase


def loss_of(method, gan, images, labels, indices, draws):
    """What the phase makes of a pass."""
    given = Microbatch(
        networks=gan,
        step=0,
        update=0,
        images=images,
        labels=labels,
        indices=indices,
        draws=Given(draws),
        augment=None,
    )
    return phase_of(method, gan).loss(given)


# Initial values and trained variables.


def test_starts_as_the_source_with_fresh_classes(form):
    source = tiny_source(form)
    _, gan = build(form)
    assert gan.discriminator is None
    assert gan.class_names == ["x", "y", "z"]
    old, new = values(source.generator), values(gan.generator)
    assert new.keys() == old.keys() | {"linear/scale", "linear/shift"}
    np.testing.assert_array_equal(new["linear/scale"], np.ones(8))
    np.testing.assert_array_equal(new["linear/shift"], np.zeros(8))
    for name, value in new.items():
        if name.startswith("class_embedding/"):
            # N(0, 0.002), 18 draws: the spread is within a factor 2 of 0.045.
            assert 0.022 < value.std() < 0.09
        elif name.endswith(("scale_table", "shift_table")):
            assert not value.any(), name
        elif name in old and value.shape == old[name].shape and "moving" not in name:
            np.testing.assert_array_equal(value, old[name], err_msg=name)


def test_first_layer_scales_and_shifts_by_channel():
    layer = ScaledDense(12, channels=3, sn_eps=1e-6)
    x = normal(2, 5)
    plain = ops.convert_to_numpy(layer(x))
    assert [v.name for v in layer.trainable_variables] == ["kernel", "bias", "scale", "shift"]
    layer.raw_bias.assign(normal(12, seed=2))
    plain = plain + normal(12, seed=2)
    scale, shift = normal(3, seed=3), normal(3, seed=4)
    layer.scale.assign(scale)
    layer.shift.assign(shift)
    expected = plain.reshape(2, 4, 3) * scale + shift
    np.testing.assert_allclose(layer(x), expected.reshape(2, 12), rtol=1e-4, atol=1e-5)
    again = ScaledDense.from_config(layer.get_config())
    assert again.channels == 3


def test_trained_and_frozen_variables(form):
    method, gan = build(form)
    (stage,) = method.stages(gan)
    assert (stage.name, list(gan.named)) == ("reconstruct", ["generator", "codes"])
    trained = [variable_name(v) for v in trained_variables(gan, stage, "generator")]
    assert len(trained) == len(set(trained)), "each has one learning rate"
    trained = set(trained)
    frozen = {variable_name(v) for v in gan.generator.trainable_variables} - trained
    assert {"linear/kernel", "linear/bias", "linear/scale", "linear/shift"} <= trained
    assert {n.split("/")[1] for n in trained if n.startswith("block")} <= {
        f"norm{i}" for i in range(1, 5)
    }
    assert all("/conv" in n or "/shortcut" in n or n.startswith("output_") for n in frozen)
    assert ("class_embedding/embeddings" in trained) == (form != "table" and form != "folded")
    (codes,) = trained_variables(gan, stage, "codes")
    assert (variable_name(codes), codes.shape) == ("codes", (6, 8))
    assert not np.any(codes)


def test_learning_rates_and_their_fall():
    method, gan = build("shared_hierarchical")
    adam = PhaseOptimizer(phase_of(method, gan), gan, tf.Variable(1.0))
    rates = adam.learning_rates()
    assert len(rates) == len(adam.variables)
    assert rates.pop("codes/codes") == pytest.approx(0.05)
    assert rates.pop("generator/class_embedding/embeddings") == pytest.approx(1e-3)
    assert rates.pop("generator/linear/kernel") == pytest.approx(1e-7)
    np.testing.assert_allclose(list(rates.values()), 5e-3, rtol=1e-6)
    for done, factor in ((2999, 1.0), (3000, 0.2), (6000, 0.2**2)):
        for part in adam.checkpoint_parts().values():
            part["iteration"].assign(done)
        assert adam.iterations == done
        fallen = adam.learning_rates()
        assert fallen["codes/codes"] == pytest.approx(0.05 * factor)
        assert fallen["generator/linear/kernel"] == pytest.approx(1e-7 * factor)


# The loss.


def numpy_emd(codes, normal_draws):
    d = ((codes[:, None] - normal_draws[None]) ** 2).sum(axis=-1)
    return d.min(axis=0).mean() + d.min(axis=1).mean()


def test_earth_mover_distance():
    codes, draws = normal(4, 3), normal(40, 3, seed=1)
    computed = float(earth_mover_distance(codes, draws))
    assert computed == pytest.approx(numpy_emd(codes, draws), rel=1e-4)
    assert float(earth_mover_distance(codes, codes)) == pytest.approx(0.0, abs=1e-5)


def regularizer(v):
    if "class_embedding/embeddings" in v:
        return (v["class_embedding/embeddings"] ** 2).mean()
    tables = [x for n, x in v.items() if n.endswith(("scale_table", "shift_table"))]
    assert len(tables) == 4
    of_tables = sum((x**2).mean() for x in tables)
    return of_tables + ((v["linear/scale"] - 1) ** 2).mean() + (v["linear/shift"] ** 2).mean()


def test_parts_of_the_loss(form):
    method, gan = build(form)
    disturb(gan)
    codes = normal(6, 8, seed=9)
    gan["codes"].codes.assign(codes)
    images, labels = np.tanh(normal(3, 8, 8, 3, seed=7)), np.array([1, 0, 2])
    indices, draws = np.array([4, 0, 5]), normal(3, 11, 8, seed=8)
    before = values(gan.generator)
    terms = loss_of(method, gan, images, labels, indices, draws)
    parts = {name: float(value) for name, value in terms.minimized.items()}
    assert {k: float(v) for k, v in terms.reported.items()} == {
        "loss": pytest.approx(sum(parts.values()), rel=1e-5)
    }
    assert parts.pop("regularizer") == pytest.approx(0.02 * regularizer(before), rel=1e-4)
    z = codes[indices] + 0.01 * draws[:, 0]
    reconstructed = ops.convert_to_numpy(gan.generator(z, labels)[0])
    assert parts == {
        "l1": pytest.approx(np.abs(reconstructed - images).mean(), rel=1e-4),
        "emd": pytest.approx(
            0.1 * numpy_emd(codes[indices], draws[:, 1:].reshape(30, 8)), rel=1e-4
        ),
    }
    for name, value in values(gan.generator).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_perceptual_part(tmp_path):
    layers = keras.layers
    stack = [layers.Input((4, 4, 3)), layers.Conv2D(2, 3), layers.ReLU(), layers.Conv2D(5, 1)]
    network = keras.Sequential([*stack, layers.Flatten(), layers.Dense(2)])
    network.save(tmp_path / "net.keras")
    method = BSA(make_config(perceptual_net=str(tmp_path / "net.keras"), perceptual=0.5))
    gan = method.build((tiny_source("table"),), TARGET)
    method.prepare(gan, make_images())
    assert "perceptual" not in gan.named, "it is neither trained nor saved"
    images, labels, draws = np.tanh(normal(2, 8, 8, 3)), np.array([1, 0]), normal(2, 11, 8)
    loss = loss_of(method, gan, images, labels, np.array([0, 1]), draws).minimized
    ours = gan.generator(0.01 * draws[:, 0], labels)[0]
    maps = []
    for x in (ours, images):
        x = tf.image.resize(x, (4, 4))
        first = network.layers[0](x)
        maps.append((first, network.layers[2](network.layers[1](first))))
    differences = [np.abs(a - b).mean() for a, b in zip(*maps, strict=True)]
    assert float(loss["perceptual"]) == pytest.approx(0.5 * sum(differences), rel=1e-3)


def test_vgg16_gives_ten_maps_of_its_own_preprocessing(tmp_path):
    network = keras.applications.VGG16(include_top=False, weights=None)
    path = tmp_path / "vgg.weights.h5"
    network.save_weights(path)
    images = np.tanh(normal(1, 16, 16, 3))
    maps = load_feature_maps(f"vgg16:{path}")(images)
    sides = [16, 16, 8, 8, 4, 4, 4, 2, 2, 2]
    assert [x.shape[1] for x in maps] == sides
    # Blue, green, red in [0, 255] less their means, as the weights were trained with.
    expected = (images[..., ::-1] + 1) * 127.5 - [103.939, 116.779, 123.68]
    first = network.get_layer("block1_conv1")(expected.astype(np.float32))
    np.testing.assert_allclose(maps[0], first, rtol=1e-4, atol=1e-3)
    path.write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"expected VGG16 weights without top in .*vgg"):
        load_feature_maps(f"vgg16:{path}")


@pytest.mark.parametrize(
    "handle, message",
    [
        ("vgg", "expected a perceptual net vgg16:<weights file> or a .keras file, got 'vgg'"),
        ("vgg16:no.h5", "expected a file of VGG16 weights, got a path without a file: no.h5"),
        ("no.keras", "expected a Keras model file, got a path without a file: no.keras"),
    ],
)
def test_missing_perceptual_nets(handle, message):
    method = BSA(make_config(perceptual_net=handle))
    gan = method.build((tiny_source("table"),), TARGET)
    with pytest.raises(InputError) as error:
        method.prepare(gan, make_images())
    assert str(error.value) == message


def test_settings_without_effect_are_refused():
    validate(make_config())
    for change in (
        lambda c: setattr(c.data, "flip", True),
        lambda c: setattr(c.discriminator, "warmup_steps", 2),
        lambda c: setattr(c.discriminator, "freeze_blocks", 2),
        lambda c: setattr(c.training, "d_steps", 2),
    ):
        config = make_config()
        change(config)
        with pytest.raises(InputError, match=r"bsa has no discriminator.*--config\..*got"):
            validate(config)


# Training.


def train(config, directory, form="table", images=None):
    keras.utils.set_random_seed(config.seed)
    strategy = tf.distribute.OneDeviceStrategy("/cpu:0")
    method = BSA(config)
    with strategy.scope():
        gan = method.build((tiny_source(form),), TARGET)
    run = RunDir(directory)
    run.open(config, TARGET.class_names)
    training = TrainingRun(config, run, strategy, method, gan, images or make_images())
    training.train()
    return training


def reachable_images():
    """Samples of the source itself, so that there are codes that give them."""
    source = tiny_source("shared_hierarchical")
    labels = np.arange(6, dtype=np.int32) % 3
    images = to_uint8(source.generator(normal(6, 8, seed=11), labels)[0])
    return ImageSet(images.numpy(), labels, TARGET.class_names, "reachable")


def test_codes_learn_and_frozen_variables_stay(tmp_path, graph):
    config = make_config(emd=0.0)
    config.training.steps = 150
    config.training.checkpoint_every = 0
    source = tiny_source("shared_hierarchical")
    initial = values(source.generator)
    data = reachable_images()
    training = train(config, tmp_path / "run", "shared_hierarchical", data)
    records = training.run.read_stats()
    loss = [record["loss"] for record in records]
    assert np.mean(loss[-10:]) < 0.5 * np.mean(loss[:10])
    names = ["loss", "l1", "emd", "regularizer"]
    assert records[-1]["loss"] == pytest.approx(sum(records[-1][n] for n in names[1:]), rel=1e-5)
    # Image i is nearer to what its own code gives than to the other image's of its class.
    codes = ops.convert_to_numpy(training.networks["codes"].codes)
    made = ops.convert_to_numpy(training.networks.generator(codes, data.labels)[0])
    images = data.images / 127.5 - 1.0
    distances = np.abs(made[:, None] - images[None]).mean(axis=(2, 3, 4))
    assert np.all(np.diag(distances) < distances[np.arange(6), (np.arange(6) + 3) % 6])
    trained = {variable_name(v) for v in training.state.optimizers["reconstruct"].variables}
    for name, value in values(training.networks.generator).items():
        if name in initial and value.shape == initial[name].shape:
            assert np.array_equal(value, initial[name]) == (name not in trained), name
    for name, value in values(source.generator).items():
        np.testing.assert_array_equal(value, initial[name], err_msg=name)


def stored(run, step):
    reader = tf.train.load_checkpoint(str(run.checkpoint_path(step)))
    names = [name for name in reader.get_variable_to_shape_map() if "OBJECT_GRAPH" not in name]
    return {name: reader.get_tensor(name) for name in names}


def test_a_resumed_run_ends_bit_for_bit_like_an_uninterrupted_one(tmp_path, monkeypatch):
    config = make_config(decay_every=3)
    config.training.accumulation = 2
    straight = train(config, tmp_path / "straight")

    class Interrupted(Exception):
        pass

    def interrupt(run, last, best):
        if run.saved_steps()[-1] == 2:
            raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "keep_checkpoints", interrupt)
        with pytest.raises(Interrupted):
            train(config, tmp_path / "stopped")
    stopped = train(config, tmp_path / "stopped")
    expected, resumed = stored(straight.run, 4), stored(stopped.run, 4)
    assert expected.keys() == resumed.keys()
    assert any(name.startswith("networks/codes/") for name in expected)
    assert any(name.startswith("optimizers/reconstruct/") for name in expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(resumed[name], value, err_msg=name)
    earlier = stored(straight.run, 2)
    assert any(not np.array_equal(earlier[name], value) for name, value in expected.items())


def test_a_checkpoint_is_read_without_source_and_images(tmp_path):
    config = make_config()
    config.training.steps = 2
    config.training.ema_decay = 0.5
    training = train(config, tmp_path / "run")
    snapshot = open_snapshot(str(tmp_path / "run"), "2")
    assert snapshot.gan.discriminator is None
    assert snapshot.gan.class_names == ["x", "y", "z"]
    with training.state.holding_ema():
        expected = values(training.method.extended(training.networks).generator)
    read = values(snapshot.gan.generator)
    assert read.keys() == expected.keys()
    for name, value in read.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    own = values(training.method.extended(training.networks).generator)
    assert any(not np.array_equal(value, own[name]) for name, value in read.items())


# What comes out.


def test_extended_is_the_trained_generator(form):
    method, gan = build(form)
    disturb(gan)
    z, labels = normal(3, 8), np.array([2, 0, 1])
    expected = gan.generator(z, labels)[0]
    extended = method.extended(gan)
    assert extended.class_names == ["x", "y", "z"]
    np.testing.assert_allclose(extended(z, labels), expected, atol=1e-5)
    again = method.as_source(gan, extended)
    assert again.discriminator is None
    np.testing.assert_allclose(again.generator(z, labels)[0], expected, atol=1e-5)
    config = create_config("transfergan")
    config.discriminator.warmup_steps = 1
    TransferGAN(config).build((again,), DataSpec(("p",), 8))
