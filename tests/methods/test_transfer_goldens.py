"""The transfer norm and its penalties against the released code, under the presets `code_*`.

Three forms: the main code, the CIFAR code as it was launched, and the CIFAR code's hierarchical one
(with latent terms, which that preset does not have).
"""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from presets import preset

from cgt_tf.layers.conditional_batch_norm import Condition
from cgt_tf.methods.cgan_transfer_settings import CGANTransferSettings
from cgt_tf.methods.propagation import norm_factory, penalties
from cgt_tf.networks.spec import GanSpec

GOLDENS = np.load(Path(__file__).parents[1] / "goldens" / "transfer_ccbn.npz")
OLD, NEW = 9, 4
SETTINGS = {
    "imagenet": preset("code_imagenet"),
    "cifar": preset("code_cifar"),
    "cifar_hier_shared": {**preset("code_cifar"), "latent_bias": True},
}
# Our part -> the letter of the authors' layers.
PARTS = {"scale": "g", "shift": "b"}
# The authors' layer -> ours; their matrices are transposed, unless they are scores.
LAYERS = {"comb_layer": "scores", "prev_knowledge": "prior", "z_layer": "latent"}


@pytest.fixture(params=SETTINGS)
def golden(request):
    prefix = request.param + "/"
    arrays = {k.removeprefix(prefix): v for k, v in GOLDENS.items() if k.startswith(prefix)}
    return {**arrays, "settings": CGANTransferSettings(**SETTINGS[request.param])}


def nhwc(x):
    return np.transpose(x, (0, 2, 3, 1))


def parts(layer):
    return (layer.scale, layer.shift)


def layer_of(golden):
    """A norm as the method makes them under the preset, with the golden's values."""
    latent_dim = golden["condition"].shape[1] - NEW
    spec = GanSpec(
        resolution=8,
        num_classes=NEW,
        dim_z=2 * latent_dim or 8,
        g_widths=(12, 12),
        d_widths=(12,),
        d_halvings=1,
        hierarchical=latent_dim > 0,
        bn_eps=float(golden["bn_eps"]),
        sn_eps=1e-6,
    )
    source = dataclasses.replace(spec, num_classes=OLD)
    layer = norm_factory(source, spec, golden["settings"])(12)
    layer.build((None, 5, 5, 12))
    for variable, name in their_names(layer, golden):
        value = golden[f"state/{name}"]
        variable.assign(value if value.shape == tuple(variable.shape) else value.T)
    layer.moving_mean.assign(golden["state/stored_mean"])
    layer.moving_variance.assign(golden["state/stored_var"])
    return layer


def their_names(layer, golden):
    """Each of our variables with the name of theirs."""
    for part, letter in zip(parts(layer), PARTS.values(), strict=True):
        yield part.residual, f"res_{letter}.weight"
        for theirs, ours in LAYERS.items():
            inner = getattr(part, ours)
            if inner is None:
                continue
            yield inner.kernel, f"{theirs}_{letter}.weight"
            if inner.use_bias:
                yield inner.bias, f"{theirs}_{letter}.bias"
            if inner.spectral_norm:
                yield inner.u, f"{theirs}_{letter}.u0"


def condition_of(golden):
    one_hot, z = golden["condition"][:, :NEW], golden["condition"][:, NEW:]
    return Condition(one_hot, z if z.shape[1] else None)


def test_every_array_of_their_state_is_used(golden):
    used = {name for _, name in their_names(layer_of(golden), golden)}
    state = {k.removeprefix("state/") for k in golden if k.startswith("state/")}
    unused = {x for x in state - used if not x.endswith("sv0")}
    # The projections of the pretrained layer, which the transfer layer only starts from.
    assert {x.partition(".")[0] for x in unused} <= {"stored_mean", "stored_var", "gain", "bias"}


def test_outputs_equal_the_authors_code(golden):
    layer, condition = layer_of(golden), condition_of(golden)
    scale, shift = layer.modulation(condition, False)
    np.testing.assert_allclose(scale, golden["train/gain"], atol=1e-5)
    np.testing.assert_allclose(shift, golden["train/bias"], atol=1e-5)
    x = nhwc(golden["x_nchw"])
    y = layer(x, condition, training=True)
    np.testing.assert_allclose(y, nhwc(golden["train/output_nchw"]), atol=2e-5)
    np.testing.assert_allclose(layer.moving_mean, golden["train/stored_mean_after"], atol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, golden["train/stored_var_after"], atol=1e-5)
    for variable, name in their_names(layer, golden):
        if name.endswith("u0"):
            expected = golden[f"train/u0_after/{name.removesuffix('.u0')}"]
            np.testing.assert_allclose(variable, expected, atol=1e-5, err_msg=name)
    y = layer(x, condition)
    np.testing.assert_allclose(y, nhwc(golden["eval_after_train/output_nchw"]), atol=2e-5)


def test_gradients_equal_the_authors_code(golden):
    layer = layer_of(golden)
    named = [x for x in their_names(layer, golden) if not x[1].endswith("u0")]
    with tf.GradientTape() as tape:
        y = layer(nhwc(golden["x_nchw"]), condition_of(golden), training=True)
        loss = tf.reduce_sum(y * nhwc(golden["upstream_nchw"]))
    gradients = tape.gradient(loss, [variable.value for variable, _ in named])
    for (_, name), actual in zip(named, gradients, strict=True):
        expected = golden[f"train/grad/{name}"]
        actual = actual.numpy() if expected.shape == tuple(actual.shape) else actual.numpy().T
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("l1, l2", [(0, 0), (0.01, 0), (0.01, 0.1)])
def test_penalties_equal_the_authors_code(golden, l1, l2):
    settings = dataclasses.replace(golden["settings"], l1_scores=l1, l2_residual=l2)
    name = "plain" if not l1 else "with_l1_0.01" + "_l2_0.1" * bool(l2)
    found = sum(float(x) for x in penalties(list(parts(layer_of(golden))), settings).values())
    expected = golden[f"loss/{name}"] - golden["loss/plain"]
    assert found == pytest.approx(float(expected), abs=1e-6)


@pytest.mark.parametrize("golden", ["imagenet"], indirect=True)
def test_the_authors_pseudo_classes_are_not_the_old_classes(golden):
    """The pretrained norm divides its matrices by their sigma, the transfer starts from them raw.

    So one-hot scores do not restore an old class there, which they do in the paper's form.
    """
    prior = layer_of(golden).scale.prior
    for _ in range(200):  # Until the power iteration is at the exact sigma, which theirs is.
        taken = prior.normalized_kernel(training=True)
    np.testing.assert_allclose(taken, golden["transfer_base_gain_offsets"].T, atol=1e-5)
    assert np.abs(taken - golden["pretrained_gain_offsets"].T).max() > 0.1
