"""The miner against the authors' code for BigGAN: values, losses, gradients, one Adam step.

Tests with `networks` read the authors' generator and discriminator and need torch; the miner's own
values, and losses of given logits, do not.
"""

import functools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from cgt_tf.formats import biggan_pytorch_rules as tables
from cgt_tf.formats.biggan_pytorch import read_pth
from cgt_tf.methods.miner import Miner
from cgt_tf.methods.objectives import AdversarialLoss
from cgt_tf.networks.mined import AffineMiner
from cgt_tf.networks.spec import GanSpec
from cgt_tf.networks.weights import variable_name
from cgt_tf.training.fused_adam import FusedAdam

GOLDENS = Path(__file__).parents[1] / "goldens"
# Golden -> the folder of its networks, widths of z and class vector, blocks of the generator.
SIZES = {"minegan": ("minegan_pth", 16, 12, 3), "minegan_128": ("pth_128", 120, 128, 5)}
NAMES = [f"linear{i or ''}" for i in (0, 2, 3, 4, 5, 6, 7, 8)]
# Large images are stored as their middle.
CENTRE = slice(48, 80)
both = pytest.mark.parametrize("name", SIZES)


@functools.cache
def golden(name):
    with np.load(GOLDENS / f"{name}.npz") as file:
        return dict(file)


def expected_of(name, prefix):
    """Golden values by what follows the prefix."""
    values = golden(name).items()
    found = {key.removeprefix(prefix): value for key, value in values if key.startswith(prefix)}
    assert found
    return found


def spec_of(name):
    _, dim, shared, blocks = SIZES[name]
    return GanSpec(
        resolution=4 * 2**blocks,
        num_classes=1,
        dim_z=dim,
        g_widths=(4,) * (blocks + 1),
        d_widths=(4,),
        d_halvings=1,
        hierarchical=True,
        shared_dim=shared,
        wrapper="mined",
        table_classes=5,
    )


def layers_of(miner):
    return dict(zip(NAMES, (*miner.latent, *miner.vector), strict=True))


def golden_miner(name):
    miner = Miner(spec_of(name), name="miner")
    miner.build((None, SIZES[name][1]))
    state = expected_of(name, "state/M/")
    for key, layer in layers_of(miner).items():
        layer.kernel.assign(state[f"{key}.weight"].T[None])
        layer.bias.assign(state[f"{key}.bias"][None])
        layer.u.assign(state[f"{key}.u0"][None])
    return miner


def mined(miner, u, training=False):
    z, given = miner(u, tf.ones((len(u), 1)), training=training)
    return z, given


def nhwc(images):
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))


def real_images(name):
    data = golden(name)
    if "x_nchw" in data:
        return nhwc(data["x_nchw"])
    return nhwc(data["x_times128_nchw"]).astype(np.float32) / 128


def assert_close(actual, expected, rtol=1e-4):
    """Within 1e-4 of their size, as logits and losses."""
    np.testing.assert_allclose(np.squeeze(actual), np.squeeze(expected), rtol=rtol, atol=1e-6)


def assert_gradient_equal(gradient, expected, key):
    floor = max(1e-6, 1e-3 * np.abs(expected).max())
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=floor, err_msg=key)


@both
def test_what_the_miner_gives(name):
    data, miner = golden(name), golden_miner(name)
    z, given = mined(miner, data["u"])
    np.testing.assert_allclose(z, data["eval/mined_z"], atol=1e-5)
    np.testing.assert_allclose(given.embedding, data["eval/mined_c"], atol=1e-5)
    # In training as well: what moves is the vectors for the next call.
    z, given = mined(miner, data["u"], training=True)
    np.testing.assert_allclose(z, data["Gphase1/mined_z"], atol=1e-5)
    np.testing.assert_allclose(given.embedding, data["Gphase1/mined_c"], atol=1e-5)
    moved = layers_of(miner)["linear"].u[0] - data["state/M/linear.u0"]
    assert np.abs(moved).max() > 1e-4


@both
def test_the_miners_divisors(name):
    used, exact = expected_of(name, "eval/sigma/M/"), expected_of(name, "sigma_exact/M/")
    for key, layer in layers_of(golden_miner(name)).items():
        ratio = np.linalg.norm(layer.kernel) / np.linalg.norm(layer.normalized_kernel())
        np.testing.assert_allclose(ratio, used[key], rtol=1e-5, err_msg=key)
        largest = np.linalg.svd(layer.kernel[0], compute_uv=False)[0]
        np.testing.assert_allclose(largest, exact[key], rtol=1e-5, err_msg=key)


def test_the_miners_vectors_after_a_pass():
    data, miner = golden("minegan"), golden_miner("minegan")
    sigmas = {
        key: np.linalg.norm(layer.kernel) / np.linalg.norm(layer.normalized_kernel())
        for key, layer in layers_of(miner).items()
    }
    mined(miner, data["u"], training=True)
    for phase in ("Dphase", "Gphase1"):
        after = expected_of("minegan", f"{phase}/after/M/")
        for key, layer in layers_of(miner).items():
            np.testing.assert_allclose(layer.u[0], after[f"{key}.u0"], atol=1e-5, err_msg=key)
            np.testing.assert_allclose(sigmas[key], after[f"{key}.sv0"][0], rtol=1e-5, err_msg=key)


@both
def test_folded_maps_are_the_four_layers(name):
    data, miner = golden(name), golden_miner(name)
    folded = AffineMiner(spec_of(name))
    folded.build((None, SIZES[name][1]))
    miner.fold_into(folded)
    z, given = folded(data["u"], tf.ones((len(data["u"]), 1)))
    np.testing.assert_allclose(z, data["eval/mined_z"], atol=1e-5)
    np.testing.assert_allclose(given.embedding, data["eval/mined_c"], atol=1e-5)


@both
@pytest.mark.parametrize("pair", ["softplus", "hinge"])
def test_losses_of_given_logits(name, pair):
    data = golden(name)
    prefix = "eval/hinge_" if pair == "hinge" else "eval/"
    loss = AdversarialLoss(pair, "unconditional")
    fake, real = (np.squeeze(data[f"eval/D_{kind}"], -1) for kind in ("fake", "real"))
    # What is not the affine head has no say.
    logits = np.zeros(2 * len(fake), np.float32)
    endpoints = {"unconditional": np.concatenate([real, fake])}
    expected = data[f"{prefix}D_loss_real"] + data[f"{prefix}D_loss_fake"]
    assert_close(loss.discriminator(logits, endpoints, 0), expected)
    assert_close(loss.generator(logits[:2], {"unconditional": fake}, 0), data[f"{prefix}G_loss"])


# With the generator and the discriminator.


@pytest.fixture
def networks(name):
    """Miner, generator and discriminator as saved."""
    pytest.importorskip("torch", reason=".pth files need torch: pip install 'cgt_tf[torch]'")
    folder = GOLDENS / SIZES[name][0]
    generator = read_pth(folder / "G.pth").generator
    return golden_miner(name), generator, read_pth(folder / "D.pth").discriminator


def test_the_miners_file_is_the_golden_state():
    torch = pytest.importorskip("torch", reason=".pth files need torch")
    tensors = torch.load(GOLDENS / "minegan_pth" / "M.pth", weights_only=True)
    state = expected_of("minegan", "state/M/")
    assert tensors.keys() - state.keys() == {"shared.weight"}
    for key, value in state.items():
        np.testing.assert_array_equal(tensors[key].numpy(), value)


@both
def test_images_and_logits(name, networks):
    data, (miner, generator, discriminator) = golden(name), networks
    images, _ = generator(*mined(miner, data["u"]))
    if "eval/image_nchw" in data:
        np.testing.assert_allclose(images, nhwc(data["eval/image_nchw"]), atol=1e-4)
        plain, _ = generator(data["u"], data["y"].astype(np.int32))
        np.testing.assert_allclose(plain, nhwc(data["eval/image_unmined_nchw"]), atol=1e-4)
    else:
        crop = images[:, CENTRE, CENTRE]
        np.testing.assert_allclose(crop, nhwc(data["eval/image_crop_nchw"]), atol=1e-4)
    for kind, given in (("fake", images), ("real", real_images(name))):
        _, endpoints = discriminator(given, np.zeros(len(given), np.int32))
        assert_close(endpoints["unconditional"], data[f"eval/D_{kind}"])


def in_their_layout(network, arrays):
    """Arrays by variable path as the authors name and shape them."""
    generator = network.name == "generator"
    rules = tables.generator_rules if generator else tables.discriminator_rules
    return {
        rule.source: rule.layout.write(np.asarray(arrays[rule.target]))
        for rule in rules(network.spec)
        if rule.target in arrays
    }


def assert_sums_equal(name, phase, letter, found):
    norms = expected_of(name, f"{phase}/gradnorm/{letter}/")
    sums = expected_of(name, f"{phase}/gradsum/{letter}/")
    assert found.keys() == norms.keys() == sums.keys()
    for key, gradient in found.items():
        floor = max(1e-5, 1e-3 * norms[key])
        assert abs(np.linalg.norm(gradient) - norms[key]) < floor, key
        assert abs(np.sum(gradient, dtype=np.float64) - sums[key]) < floor, key


def gradients_of(tape, loss, network, unused):
    """All gradients in the authors' layout; those of the unused layer, and no others, are None."""
    variables = network.trainable_variables
    values = tape.gradient(loss, [v.value for v in variables])
    found = {variable_name(v): g for v, g in zip(variables, values, strict=True)}
    assert {key for key, value in found.items() if value is None} == {f"{unused}/embeddings"}
    return in_their_layout(network, {k: v for k, v in found.items() if v is not None})


def miner_gradients(tape, loss, miner):
    found = {}
    for key, layer in layers_of(miner).items():
        kernel, bias = tape.gradient(loss, [layer.kernel.value, layer.bias.value])
        found |= {f"{key}.weight": kernel[0].numpy().T, f"{key}.bias": bias[0].numpy()}
    return found


@both
def test_the_discriminators_phase(name, networks):
    """One pass of all in training mode, and the buffers that it leaves."""
    data, (miner, generator, discriminator) = golden(name), networks
    loss_of = AdversarialLoss("softplus", "unconditional")
    before = np.asarray(discriminator.class_projection.u)
    with tf.GradientTape() as tape:
        fake, _ = generator(*mined(miner, data["u"], training=True), training=True)
        both_kinds = tf.concat([real_images(name), fake], 0)
        outputs = discriminator(both_kinds, np.zeros(len(both_kinds), np.int32), training=True)
        loss = loss_of.discriminator(*outputs, 0)
    real, fake = tf.split(outputs[1]["unconditional"], 2)
    assert_close(real, data["Dphase/D_real"])
    assert_close(fake, data["Dphase/D_fake"])
    assert_close(loss, data["Dphase/D_loss_real"] + data["Dphase/D_loss_fake"])
    found = gradients_of(tape, loss, discriminator, "class_projection")
    assert_sums_equal(name, "Dphase", "D", found)
    if name == "minegan":
        # The projection, which the authors leave out, is computed here though nothing uses it.
        discriminator.class_projection.u.assign(before)
        for letter, network in (("G", generator), ("D", discriminator)):
            after = expected_of(name, f"Dphase/after/{letter}/")
            buffers = {variable_name(v): v for v in network.non_trainable_variables}
            found = in_their_layout(network, buffers)
            assert found.keys() == {key for key in after if not key.endswith("sv0")}
            for key, value in found.items():
                np.testing.assert_allclose(
                    np.reshape(value, after[key].shape), after[key], 1e-4, 1e-5, err_msg=key
                )


def generator_microbatch(name, networks):
    data, (miner, generator, discriminator) = golden(name), networks
    loss_of = AdversarialLoss("softplus", "unconditional")
    with tf.GradientTape(persistent=True) as tape:
        images, _ = generator(*mined(miner, data["u"], training=True), training=True)
        outputs = discriminator(images, np.zeros(len(images), np.int32), training=True)
        loss = loss_of.generator(*outputs, 0)
    return tape, outputs, loss


@both
def test_the_miners_phase(name, networks):
    data, miner = golden(name), networks[0]
    tape, outputs, loss = generator_microbatch(name, networks)
    assert_close(outputs[1]["unconditional"], data["Gphase1/D_fake"])
    assert_close(loss, data["Gphase1/G_loss"])
    found = miner_gradients(tape, loss, miner)
    if name != "minegan":
        return assert_sums_equal(name, "Gphase1", "M", found)
    expected = expected_of(name, "Gphase1/grad/M/")
    assert found.keys() == expected.keys()
    for key, gradient in found.items():
        assert_gradient_equal(gradient, expected[key], key)
    adam = FusedAdam(1e-4, 0.0, 0.999, 1e-6)
    variables = miner.trainable_variables
    adam.apply(tape.gradient(loss, [v.value for v in variables]), variables)
    after = expected_of(name, "Gphase1/after_adam/M/")
    for key, layer in layers_of(miner).items():
        np.testing.assert_allclose(layer.kernel[0].numpy().T, after[f"{key}.weight"], 0, 1e-6)
        np.testing.assert_allclose(layer.bias[0], after[f"{key}.bias"], 0, 1e-6)


@both
def test_the_joint_phase(name, networks):
    data, (miner, generator, _) = golden(name), networks
    tape, outputs, loss = generator_microbatch(name, networks)
    assert_close(outputs[1]["unconditional"], data["Gphase2/D_fake"])
    assert_close(loss, data["Gphase2/G_loss"])
    assert_sums_equal(name, "Gphase2", "M", miner_gradients(tape, loss, miner))
    # The class embedding, whose place the mined vector takes, has no gradient.
    found = gradients_of(tape, loss, generator, "class_embedding")
    assert_sums_equal(name, "Gphase2", "G", found)
