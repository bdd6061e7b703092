"""BigGAN networks: parameter ledger, shapes, endpoints, labels, parity with BigGAN-PyTorch."""

import functools
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from cgt_tf.errors import InputError
from cgt_tf.layers.conditional_batch_norm import Condition, ProjectedBatchNorm
from cgt_tf.layers.spectral import SpectralConv2D, SpectralLayer
from cgt_tf.networks.biggan import Generator, GeneratorBlock
from cgt_tf.networks.conditioning import class_weights
from cgt_tf.networks.discriminator import Discriminator, DiscriminatorBlock
from cgt_tf.networks.gan import Gan, create_discriminator, create_gan, create_generator
from cgt_tf.networks.spec import biggan_spec

GOLDENS = np.load(Path(__file__).parents[1] / "goldens" / "layers.npz")
# The three conditionings of a 32x32 network of width 4.
VARIANTS = {
    "table": {},
    "table_hierarchical": {"hierarchical": True, "dim_z": 16},
    "shared": {"shared_dim": 6, "dim_z": 16},
    "shared_hierarchical": {"shared_dim": 6, "hierarchical": True, "dim_z": 16},
}


def tiny_spec(variant="shared_hierarchical", **changes):
    fields = {"dim_z": 16, "g_widths": (8, 8, 4, 4), "d_widths": (4, 8, 8), "d_halvings": 2}
    return biggan_spec(32, 5, **{**fields, **VARIANTS[variant], **changes})


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@functools.cache
def built(cls, spec, fused):
    create = create_generator if cls is Generator else create_discriminator
    return create(spec, fused=fused)


def random_network(cls, spec=None, fused=True):
    """Every variable random, so that nothing hides behind a zero or a one; variances positive."""
    network = built(cls, spec or tiny_spec(), fused)
    for i, variable in enumerate(network.variables):
        value = normal(*variable.shape, seed=i)
        positive = variable.name == "moving_variance"
        variable.assign(np.abs(value) + 0.5 if positive else value / 2)
    return network


def count(variables):
    return sum(int(np.prod(v.shape)) for v in variables)


# Parameter ledger, derived from the architecture and not from the code.


def conv_count(kernel, channels_in, channels_out):
    return kernel**2 * channels_in * channels_out + channels_out


def attention_count(channels):
    """theta, phi: C C/8 each; g, o: C C/2 each; no biases; one gain."""
    return 2 * channels * (channels // 8) + 2 * channels * (channels // 2) + 1


def generator_count(spec):
    """Trainable parameters, for class tables as wide as the channels, or one shared embedding."""
    first = spec.g_widths[0] * 16
    total = spec.first_dim * first + first + spec.num_classes * spec.shared_dim
    rows = (spec.shared_dim or spec.num_classes) + spec.chunk_dim
    side = 4
    for channels_in, channels_out in zip(spec.g_widths, spec.g_widths[1:], strict=False):
        total += 2 * rows * (channels_in + channels_out)
        total += conv_count(3, channels_in, channels_out) + conv_count(
            3, channels_out, channels_out
        )
        total += conv_count(1, channels_in, channels_out)
        side *= 2
        total += attention_count(channels_out) if side in spec.g_attention else 0
    last = spec.g_widths[-1]
    return total + 2 * last + conv_count(3, last, 3)


def discriminator_count(spec):
    total, side, channels_in = 0, spec.resolution, 3
    for i, channels_out in enumerate(spec.d_widths):
        halves = i < spec.d_halvings
        total += conv_count(3, channels_in, channels_out) + conv_count(
            3, channels_out, channels_out
        )
        if halves or channels_in != channels_out:
            total += conv_count(1, channels_in, channels_out)
        side //= 2 if halves else 1
        total += attention_count(channels_out) if side in spec.d_attention else 0
        channels_in = channels_out
    return total + channels_in + 1 + spec.num_classes * channels_in


def shapes_only(network, input_shape):
    """Creates the variables without their values, which at full width take minutes and 0.6 GB."""
    with keras.StatelessScope(initialize_variables=False):
        network.build(input_shape)
    # Else Keras would initialise them together with the next network.
    keras.utils.clear_session(free_memory=False)
    return network


def test_published_counts_at_128():
    """BigGAN-PyTorch at 128x128, ch 96, 1000 classes: 70,433,988 and 87,982,370."""
    spec = biggan_spec(128, 1000)
    generator = shapes_only(Generator(spec), (None, 120))
    discriminator = shapes_only(Discriminator(spec), (None, 128, 128, 3))
    assert count(generator.trainable_variables) == generator_count(spec) == 70_433_988
    assert count(discriminator.trainable_variables) == discriminator_count(spec) == 87_982_370


def test_published_counts_at_32():
    """CIFAR10, ch 64.

    G: first layer 128*4096 + 4096 = 528,384; three blocks of 2*590,080 (3x3) + 65,792 (1x1)
    + 4 tables of 10*256 = 1,256,192; output norm 512; output convolution 6,915: 4,304,387.
    D: 598,272 + 1,245,952 + 2*1,180,160 for the blocks, 257 for the linear layer, 2,560 for the
    class table: 4,207,361.
    """
    spec = biggan_spec(32, 10)
    generator = shapes_only(Generator(spec), (None, 128))
    discriminator = shapes_only(Discriminator(spec), (None, 32, 32, 3))
    assert count(generator.trainable_variables) == generator_count(spec) == 4_304_387
    assert count(discriminator.trainable_variables) == discriminator_count(spec) == 4_207_361


@pytest.mark.parametrize("variant", VARIANTS)
def test_counts_of_every_conditioning(variant):
    spec = tiny_spec(variant, g_attention=(16,), d_attention=(8,), g_widths=(8, 8, 8, 4))
    generator = shapes_only(Generator(spec), (None, 16))
    discriminator = shapes_only(Discriminator(spec), (None, 32, 32, 3))
    assert count(generator.trainable_variables) == generator_count(spec)
    assert count(discriminator.trainable_variables) == discriminator_count(spec)


def test_layers_without_bias():
    """BigGAN has biases in its convolutions and first linear layer, and nowhere else."""
    spec = tiny_spec(g_attention=(16,), d_attention=(8,), g_widths=(8, 8, 8, 4))
    generator = shapes_only(Generator(spec), (None, 16))
    discriminator = shapes_only(Discriminator(spec), (None, 32, 32, 3))

    def biases(network):
        names = (v.path.partition("/")[2] for v in network.trainable_variables)
        return {name.removesuffix("/bias") for name in names if name.endswith("/bias")}

    convs = ("conv1", "conv2", "shortcut")
    blocks = {f"block_{i}/{conv}" for i in range(3) for conv in convs}
    assert biases(generator) == blocks | {"linear", "output_norm", "output_conv"}
    # 8 to 8 channels without halving: the shortcut is the identity.
    same_size = {"block_2/shortcut"}
    assert biases(discriminator) == (blocks - same_size) | {"linear"}


def test_initial_values():
    """BigGAN's: orthogonal kernels and tables, no biases, and attention that does nothing yet."""
    gain = 3.0
    spec = tiny_spec(g_attention=(16,), g_widths=(8, 8, 8, 4))
    gan = create_gan(spec, list("abcde"), embedding_gain=gain)
    values = {v.path: ops.convert_to_numpy(v) for v in gan.generator.variables}
    values.update({v.path: ops.convert_to_numpy(v) for v in gan.discriminator.variables})
    ones = {"moving_variance", "output_norm/gain"}
    for path, value in values.items():
        if path.endswith(("kernel", "embeddings")):
            matrix = value.reshape(-1, value.shape[-1])
            matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
            squared = gain**2 if path == "generator/class_embedding/embeddings" else 1.0
            np.testing.assert_allclose(
                matrix @ matrix.T, squared * np.eye(len(matrix)), atol=1e-4, err_msg=path
            )
        elif not path.endswith("/u"):
            expected = 1.0 if any(path.endswith(name) for name in ones) else 0.0
            np.testing.assert_array_equal(value, np.full(value.shape, expected), err_msg=path)


# Shapes and endpoints.


@pytest.fixture
def without_initial_values(monkeypatch):
    """Orthogonal initial values take seconds, and shapes do not need them."""
    monkeypatch.setattr(
        keras.initializers.Orthogonal, "__call__", lambda self, shape, dtype=None: tf.zeros(shape)
    )


@pytest.mark.parametrize("resolution", [32, 64, 128, 256, 512])
def test_shapes_and_endpoints(resolution, without_initial_values):
    spec = biggan_spec(resolution, 3, channels=8)
    images, endpoints = Generator(spec)(normal(1, spec.dim_z), np.array([2]))
    assert images.shape == (1, resolution, resolution, 3)
    assert images.dtype == tf.float32
    names = ["linear", *(f"block_{i}" for i in range(spec.num_blocks)), "output_norm"]
    assert list(endpoints) == names
    for i, width in enumerate(spec.g_widths):
        assert endpoints[names[i]].shape == (1, 4 * 2**i, 4 * 2**i, width)
    assert endpoints["output_norm"].shape == (1, resolution, resolution, spec.g_widths[-1])
    logits, endpoints = Discriminator(spec)(images, np.array([2]))
    assert logits.shape == (1,)
    assert logits.dtype == tf.float32
    blocks = [f"block_{i}" for i in range(len(spec.d_widths))]
    assert list(endpoints) == [*blocks, "features", "unconditional", "projection"]
    for i, width in enumerate(spec.d_widths):
        side = resolution // 2 ** min(i + 1, spec.d_halvings)
        assert endpoints[f"block_{i}"].shape == (1, side, side, width)
    assert endpoints["features"].shape == (1, spec.d_widths[-1])


def test_attention_is_where_the_spec_says():
    spec = tiny_spec(g_widths=(8, 8, 8, 8), g_attention=(16,), d_attention=(16, 8), d_widths=(8, 8))
    assert set(Generator(spec).attentions) == {"1"}
    assert set(Discriminator(spec).attentions) == {"0", "1"}
    assert not Generator(tiny_spec()).attentions


def test_attention_on_too_few_channels_is_an_input_error():
    for network in (Generator, Discriminator):
        with pytest.raises(InputError, match="at least 8 channels, got 4"):
            network(tiny_spec(g_attention=(32,), d_attention=(16,)))


def test_network_order_of_norms_and_spectral_layers():
    spec = tiny_spec(g_widths=(8, 8, 8, 4), g_attention=(16,))
    generator = create_generator(spec)
    norms = [norm.path.partition("/")[2] for norm in generator.conditional_norms()]
    assert norms == [f"block_{i}/norm{j}" for i in range(3) for j in (1, 2)]
    layers = [layer.path.partition("/")[2] for layer in generator.spectral_layers()]
    convs = ("conv1", "conv2", "shortcut")
    expected = ["linear", *(f"block_{i}/{conv}" for i in range(3) for conv in convs), "output_conv"]
    attention = [f"attention_1/{name}" for name in ("theta", "phi", "g", "o")]
    assert layers == expected[:7] + attention + expected[7:]


@pytest.mark.parametrize("spectral_norm", [True, False])
def test_every_convolution_is_spectrally_normalised_unless_folded(spectral_norm):
    spec = tiny_spec("table", g_widths=(8, 8, 8, 4), g_attention=(16,))
    generator = Generator(spec, spectral_norm=spectral_norm)
    assert all(layer.spectral_norm == spectral_norm for layer in generator.spectral_layers())
    assert all(layer.sn_eps == spec.sn_eps for layer in generator.spectral_layers())


def test_every_power_iteration_uses_the_specs_epsilon():
    spec = tiny_spec(sn_eps=3e-5, g_widths=(8, 8, 8, 4), g_attention=(16,), d_attention=(8,))
    for network in (Generator(spec), Discriminator(spec)):
        layers = [x for x in network._flatten_layers() if isinstance(x, SpectralLayer)]
        layers = [layer for layer in layers if layer.spectral_norm]
        assert len(layers) > 10
        assert {layer.sn_eps for layer in layers} == {3e-5}


def test_batch_norms_use_the_specs_constants():
    generator = Generator(tiny_spec(bn_eps=2e-3, bn_momentum=0.75))
    norms = [*generator.conditional_norms(), generator.output_norm]
    assert {(norm.epsilon, norm.momentum) for norm in norms} == {(2e-3, 0.75)}


def test_class_embedding_of_the_generator_has_no_spectral_norm_but_the_discriminators_has():
    gan = create_gan(tiny_spec(), list("abcde"))
    assert not gan.generator.class_embedding.spectral_norm
    assert gan.discriminator.class_projection.spectral_norm
    assert gan.discriminator.class_projection.u.shape == (1, 5)


def test_images_are_within_one():
    generator = random_network(Generator)
    generator.output_conv.bias.assign([100.0, -100.0, 0.0])
    images = generator(10 * normal(4, 16), np.arange(4))[0].numpy()
    assert images.min() == -1 and images.max() == 1
    assert np.abs(images[..., 2]).max() > 0.01


# Latents and labels.


def test_hierarchical_chunks_go_to_the_first_layer_and_the_blocks_in_order():
    generator = random_network(Generator)
    z = normal(1, 16)
    base = generator(z, np.array([1]))[1]
    for chunk, name in enumerate(["linear", "block_0", "block_1", "block_2"]):
        changed = z.copy()
        changed[:, 4 * chunk : 4 * chunk + 4] += 1
        endpoints = generator(changed, np.array([1]))[1]
        names = list(base)
        for before in names[: names.index(name)]:
            np.testing.assert_array_equal(endpoints[before], base[before], err_msg=before)
        assert np.abs(endpoints[name] - base[name]).max() > 1e-3, name


def test_blocks_do_not_see_z_unless_hierarchical():
    generator = Generator(tiny_spec("shared"))
    assert generator.spec.chunk_dim == 0
    assert {norm.condition_dim for norm in generator.conditional_norms()} == {6}


@pytest.mark.parametrize("variant", VARIANTS)
def test_labels_equal_one_hot_weights(variant):
    spec = tiny_spec(variant)
    generator = random_network(Generator, spec)
    gan = Gan(spec, generator, random_network(Discriminator, spec), list("abcde"))
    labels = np.array([3, 0, 4], np.int32)
    weights = np.eye(5, dtype=np.float32)[labels]
    z, x = normal(3, 16), normal(3, 32, 32, 3)
    by_label, by_weight = (gan.generator(z, y)[0] for y in (labels, weights))
    np.testing.assert_array_equal(by_label, by_weight)
    by_label, by_weight = (gan.discriminator(x, y)[0] for y in (labels, weights))
    np.testing.assert_array_equal(by_label, by_weight)
    others = gan.generator(z, (labels + 1) % 5)[0]
    assert np.abs(others - gan.generator(z, labels)[0]).max() > 1e-3, "labels change the images"


@pytest.mark.parametrize("variant", VARIANTS)
def test_mixed_labels_are_the_mixture_of_embeddings_or_tables(variant):
    generator = random_network(Generator, tiny_spec(variant))
    z, weights = normal(2, 16), np.tile(np.float32([[0, 0.25, 0, 0.75, 0]]), (2, 1))
    mixed = generator(z, weights)[0]
    tables = [
        v for v in generator.variables if v.name in ("embeddings", "scale_table", "shift_table")
    ]
    assert len(tables) == (1 if "shared" in variant else 12)
    for table in tables:
        rows = ops.convert_to_numpy(table)
        rows[4] = 0.25 * rows[1] + 0.75 * rows[3]
        table.assign(rows)
    np.testing.assert_allclose(mixed, generator(z, np.array([4, 4]))[0], atol=1e-5)


def test_class_weights():
    np.testing.assert_array_equal(class_weights(np.array([2, 0]), 3), [[0, 0, 1], [1, 0, 0]])
    weights = np.float32([[0.5, 0.25, 0.25]])
    np.testing.assert_array_equal(class_weights(weights, 3), weights)


def test_discriminator_is_linear_in_sum_pooled_features_plus_projection():
    discriminator = random_network(Discriminator)
    logits, endpoints = discriminator(normal(2, 32, 32, 3), np.array([1, 4]))
    features = endpoints["features"].numpy()
    last = endpoints["block_2"].numpy()
    np.testing.assert_allclose(features, np.maximum(last, 0).sum(axis=(1, 2)), rtol=1e-5)
    table = ops.convert_to_numpy(discriminator.class_projection.normalized_kernel(False))
    kernel = ops.convert_to_numpy(discriminator.linear.normalized_kernel(False))
    bias = ops.convert_to_numpy(discriminator.linear.bias)
    expected = features @ kernel[:, 0] + bias[0] + np.sum(table[[1, 4]] * features, axis=1)
    np.testing.assert_allclose(logits, expected, rtol=1e-4)


# Training calls, fused form.


def test_only_training_calls_change_variables():
    spec = tiny_spec()
    z, x, y = normal(2, 16), normal(2, 32, 32, 3), np.array([0, 1])
    for cls, data in ((Generator, z), (Discriminator, x)):
        network = random_network(cls, spec)
        before = {v.path: ops.convert_to_numpy(v) for v in network.variables}
        network(data, y)
        for v in network.variables:
            np.testing.assert_array_equal(v, before[v.path], err_msg=v.path)
        network(data, y, training=True)
        trainable = {v.path for v in network.trainable_variables}
        for v in network.variables:
            moved = np.abs(ops.convert_to_numpy(v) - before[v.path]).max() > 0
            assert moved != (v.path in trainable), v.path


@pytest.mark.parametrize("training", [False, True])
def test_fused_equals_plain(training):
    spec = tiny_spec(g_widths=(8, 8, 8, 4), g_attention=(16,))
    z, x, y = normal(2, 16), normal(2, 32, 32, 3), np.array([0, 1])
    for cls, data in ((Generator, z), (Discriminator, x)):
        networks = [random_network(cls, spec, fused) for fused in (True, False)]
        outputs = [n(data, y, training=training)[0].numpy() for n in networks]
        np.testing.assert_allclose(*outputs, rtol=1e-4, atol=1e-5)


# Gan records.


def test_gan_needs_one_name_a_class():
    with pytest.raises(InputError, match="expected 5 class names, one a class of the spec, got 2"):
        create_gan(tiny_spec(), ["a", "b"])


def test_create_gan_passes_fused_on():
    gan = create_gan(tiny_spec(), list("abcde"), fused=False)
    assert not gan.generator.blocks[0].conv1.fused
    assert not gan.discriminator.blocks[0].conv2.fused


# Parity with BigGAN-PyTorch, block by block.


def nhwc(x):
    return np.transpose(x, (0, 2, 3, 1))


def load_convolution(layer, state, name):
    layer.kernel.assign(np.transpose(state[f"{name}.weight"], (2, 3, 1, 0)))
    layer.bias.assign(state[f"{name}.bias"])
    layer.u.assign(state[f"{name}.u0"])


def golden_block(name):
    prefix = f"{name}/"
    return {k.removeprefix(prefix): v for k, v in GOLDENS.items() if k.startswith(prefix)}


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", ["dblock_first", "dblock_down", "dblock_same"])
def test_discriminator_block_equals_biggan_pytorch(name, fused):
    golden = golden_block(name)
    state = {k.removeprefix("state/"): v for k, v in golden.items()}
    x = nhwc(golden["x_nchw"])
    block = DiscriminatorBlock(
        x.shape[-1],
        8,
        conv=functools.partial(SpectralConv2D, fused=fused),
        first=name == "dblock_first",
        downsample=name != "dblock_same",
    )
    block(x)
    layers = {"conv1": block.conv1, "conv2": block.conv2}
    if name == "dblock_same":
        assert block.shortcut is None
    else:
        layers["conv_sc"] = block.shortcut
    for layer_name, layer in layers.items():
        load_convolution(layer, state, layer_name)
    np.testing.assert_allclose(block(x), nhwc(golden["eval_output_nchw"]), atol=2e-5)
    y = block(x, training=True)
    np.testing.assert_allclose(y, nhwc(golden["train_output_nchw"]), atol=2e-5)
    for layer_name, layer in layers.items():
        np.testing.assert_allclose(layer.u, golden[f"after_train/{layer_name}.u0"], atol=1e-5)


@pytest.mark.parametrize("fused", [True, False])
def test_generator_block_equals_biggan_pytorch(fused):
    golden = golden_block("gblock_up")
    state = {k.removeprefix("state/"): v for k, v in golden.items()}
    x, condition = nhwc(golden["x_nchw"]), Condition(None, embedding=golden["condition"])
    norm = functools.partial(ProjectedBatchNorm, condition_dim=9)
    conv = functools.partial(SpectralConv2D, fused=fused)
    block = GeneratorBlock(8, 6, norm=norm, conv=conv, conv3=conv)
    block(x, condition)
    convolutions = {"conv1": block.conv1, "conv2": block.conv2, "conv_sc": block.shortcut}
    for name, layer in convolutions.items():
        load_convolution(layer, state, name)
    norms = {"bn1": block.norm1, "bn2": block.norm2}
    for name, layer in norms.items():
        layer.moving_mean.assign(state[f"{name}.stored_mean"])
        layer.moving_variance.assign(state[f"{name}.stored_var"])
        for part, dense in (("gain", layer.scale), ("bias", layer.shift)):
            dense.kernel.assign(state[f"{name}.{part}.weight"].T)
            dense.u.assign(state[f"{name}.{part}.u0"])
    y = block(x, condition)
    np.testing.assert_allclose(y, nhwc(golden["eval_output_nchw"]), atol=2e-5)
    y = block(x, condition, training=True, power_iteration=True)
    np.testing.assert_allclose(y, nhwc(golden["train_output_nchw"]), atol=2e-5)
    for name, layer in convolutions.items():
        np.testing.assert_allclose(layer.u, golden[f"after_train/{name}.u0"], atol=1e-5)
    for name, layer in norms.items():
        after = {k: golden[f"after_train/{name}.{k}"] for k in ("stored_mean", "stored_var")}
        np.testing.assert_allclose(layer.moving_mean, after["stored_mean"], atol=1e-5)
        np.testing.assert_allclose(layer.moving_variance, after["stored_var"], atol=1e-5)
        for part, dense in (("gain", layer.scale), ("bias", layer.shift)):
            np.testing.assert_allclose(dense.u, golden[f"after_train/{name}.{part}.u0"], atol=1e-5)


def test_numbers_of_float64_are_taken():
    generator = create_generator(tiny_spec())
    z, weights = np.zeros((2, generator.spec.dim_z)), np.eye(generator.spec.num_classes)[:2]
    images, _ = generator(z, weights)
    expected, _ = generator(z.astype(np.float32), np.array([0, 1]))
    np.testing.assert_array_equal(images, expected)
