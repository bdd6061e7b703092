"""The networks against BigGAN-PyTorch: outputs, losses, gradients and buffers of its own files."""

import functools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from cgt_tf.formats import biggan_pytorch_rules as tables
from cgt_tf.formats.biggan_pytorch import read_pth
from cgt_tf.layers.spectral import SpectralLayer, power_step

pytest.importorskip("torch", reason=".pth files need torch: pip install 'cgt_tf[torch]'")

GOLDENS = Path(__file__).parents[1] / "goldens"
NAMES = ("pth_32", "pth_128")
NETWORKS = {"G": "generator", "D": "discriminator"}
# Large images are stored as their middle.
CENTRE = slice(32, 96)

pytestmark = pytest.mark.parametrize("name", NAMES)


@functools.cache
def golden(name):
    with np.load(GOLDENS / f"{name}.npz") as file:
        return dict(file)


def network(name, file):
    """A network, read from its file."""
    imported = read_pth(GOLDENS / name / f"{file}.pth")
    return getattr(imported, NETWORKS[file[0]])


def rules_of(network):
    rules = tables.generator_rules if network.name == "generator" else tables.discriminator_rules
    return rules(network.spec)


def expected_of(name, prefix):
    """Golden values by what follows the prefix."""
    values = golden(name).items()
    found = {key.removeprefix(prefix): value for key, value in values if key.startswith(prefix)}
    assert found
    return found


def nhwc(images):
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))


def labels(values):
    return values.astype(np.int32)


def assert_images_equal(images, expected_nchw):
    """Within 1e-4; `expected` may hold fewer samples, and their middle only."""
    expected = nhwc(expected_nchw)
    images = np.asarray(images)[: len(expected)]
    if images.shape != expected.shape:
        images = images[:, CENTRE, CENTRE]
    np.testing.assert_allclose(images, expected, rtol=0, atol=1e-4)


def assert_close(actual, expected):
    """Logits and losses, within 1e-4 of their size."""
    np.testing.assert_allclose(np.squeeze(actual), np.squeeze(expected), rtol=1e-4, atol=1e-6)


def in_their_layout(network, arrays):
    """Arrays by variable path as BigGAN-PyTorch names and shapes them."""
    return {
        rule.source: rule.layout.write(np.asarray(arrays[rule.target]))
        for rule in rules_of(network)
        if rule.target in arrays
    }


def path_of(variable):
    return variable.path.partition("/")[2]


def assert_gradients_equal(network, gradients, name, letter):
    """Norm and sum of every parameter's gradient."""
    paths = map(path_of, network.trainable_variables)
    found = in_their_layout(network, dict(zip(paths, gradients, strict=True)))
    norms = expected_of(name, f"gradnorm/{letter}/")
    sums = expected_of(name, f"gradsum/{letter}/")
    assert found.keys() == norms.keys() == sums.keys()
    for key, gradient in found.items():
        floor = max(1e-5, 1e-3 * norms[key])
        assert abs(np.linalg.norm(gradient) - norms[key]) < floor, key
        assert abs(gradient.sum(dtype=np.float64) - sums[key]) < floor, key


@pytest.mark.parametrize("file, key", [("G", "image_nchw"), ("G_ema", "image_ema_nchw")])
def test_images(name, file, key):
    data = golden(name)
    images, _ = network(name, file)(data["z"], labels(data["y"]))
    assert_images_equal(images, data[key])


def test_the_ema_is_another_one(name):
    data = golden(name)
    images, _ = network(name, "G")(data["z"], labels(data["y"]))
    with pytest.raises(AssertionError):
        assert_images_equal(images, data["image_ema_nchw"])


def test_logits(name):
    data, discriminator = golden(name), network(name, "D")
    logits, _ = discriminator(nhwc(data["x_nchw"]), labels(data["dy"]))
    assert_close(logits, data["D_logits"])
    logits, _ = discriminator(nhwc(data["image_nchw"]), labels(data["y"]))
    assert_close(logits, data["D_logits_on_image"])


def spectral_layers(network):
    """Layers with a spectral norm, by BigGAN-PyTorch's names."""
    modules = {r.target: r.source.removesuffix(".u0") for r in rules_of(network)}
    layers = [x for x in network._flatten_layers() if isinstance(x, SpectralLayer)]
    return {modules[path_of(x.u)]: x for x in layers if x.spectral_norm}


@pytest.mark.parametrize("letter", NETWORKS)
def test_spectral_norms(name, letter):
    """The stored vector, the divisor of one power step, and the largest singular value."""
    net = network(name, letter)
    layers = spectral_layers(net)
    vectors = {path_of(layer.u): layer.u for layer in layers.values()}
    for key, u in in_their_layout(net, vectors).items():
        np.testing.assert_array_equal(u, golden(name)[f"u0/{letter}/{key.removesuffix('.u0')}"])
    divisors = expected_of(name, f"sigma/{letter}/")
    exact = expected_of(name, f"sigma_exact/{letter}/")
    assert layers.keys() == divisors.keys() == exact.keys()
    for key, layer in layers.items():
        before = np.asarray(layer.u)
        sigma = np.linalg.norm(layer.kernel) / np.linalg.norm(layer.normalized_kernel(False))
        np.testing.assert_allclose(sigma, divisors[key], rtol=1e-5, err_msg=key)
        np.testing.assert_array_equal(layer.u, before)
        matrix = layer._matrix(tf.convert_to_tensor(layer.kernel))
        largest = np.linalg.svd(matrix, compute_uv=False)[0]
        np.testing.assert_allclose(largest, exact[key], rtol=1e-5, err_msg=key)


def assert_buffers_equal(network, name, letter, sigmas):
    """Statistics, vectors and the singular values that were divided by."""
    expected = expected_of(name, f"after_D_phase/{letter}/")
    buffers = {path_of(v): v for v in network.non_trainable_variables}
    found = in_their_layout(network, buffers)
    found.update({f"{layer}.sv0": sigma for layer, sigma in sigmas.items()})
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(
            np.reshape(found[key], value.shape), value, rtol=1e-4, atol=1e-5, err_msg=key
        )


def sigmas_of(network):
    return {
        name: power_step(layer._matrix(tf.convert_to_tensor(layer.kernel)), layer.u, layer.sn_eps)[
            0
        ].numpy()
        for name, layer in spectral_layers(network).items()
    }


def test_discriminator_step(name):
    """One pass in training mode: fake and real together, hinge losses, and what it leaves."""
    data, generator, discriminator = golden(name), network(name, "G"), network(name, "D")
    sigmas = [sigmas_of(net) for net in (generator, discriminator)]
    fake_labels, real_labels = labels(data["train_y"]), labels(data["train_dy"])
    fake, _ = generator(data["train_z"], fake_labels, training=True)
    with tf.GradientTape() as tape:
        logits, _ = discriminator(
            tf.concat([fake, nhwc(data["train_x_nchw"])], 0),
            tf.concat([fake_labels, real_labels], 0),
            training=True,
        )
        on_fake, on_real = tf.split(logits, 2)
        loss_real = tf.reduce_mean(tf.nn.relu(1 - on_real))
        loss_fake = tf.reduce_mean(tf.nn.relu(1 + on_fake))
        loss = loss_real + loss_fake
    gradients = tape.gradient(loss, [v.value for v in discriminator.trainable_variables])
    assert_close(on_fake, data["train_D_fake"])
    assert_close(on_real, data["train_D_real"])
    assert_close(loss_real, data["D_loss_real"])
    assert_close(loss_fake, data["D_loss_fake"])
    assert_gradients_equal(discriminator, gradients, name, "D")
    assert_buffers_equal(generator, name, "G", sigmas[0])
    assert_buffers_equal(discriminator, name, "D", sigmas[1])


def test_generator_step(name):
    """One pass in training mode through both networks, and the generator's gradients."""
    data, generator, discriminator = golden(name), network(name, "G"), network(name, "D")
    fake_labels = labels(data["train_y"])
    with tf.GradientTape() as tape:
        images, _ = generator(data["train_z"], fake_labels, training=True)
        logits, _ = discriminator(images, fake_labels, training=True)
        loss = -tf.reduce_mean(logits)
    gradients = tape.gradient(loss, [v.value for v in generator.trainable_variables])
    gradients = [tf.convert_to_tensor(g) for g in gradients]
    assert_images_equal(images, data["train_image_nchw"])
    assert_close(logits, data["train_G_D_fake"])
    assert_close(loss, data["G_loss"])
    assert_gradients_equal(generator, gradients, name, "G")
