"""The transfer norm: its equation, parity with the authors' code, configuration."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from cgt_tf.layers.conditional_batch_norm import Condition, TableBatchNorm
from cgt_tf.layers.pseudo_class_batch_norm import PseudoClassBatchNorm

GOLDENS = np.load(Path(__file__).parents[1] / "goldens" / "transfer_ccbn.npz")
# Our variable -> the authors' layer, whose matrices are transposed unless they are scores.
PARTS = {"scale": "g", "shift": "b"}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def randomize(layer):
    for i, variable in enumerate(layer.trainable_variables):
        variable.assign(normal(*variable.shape, seed=i))


def nhwc(x):
    return np.transpose(x, (0, 2, 3, 1))


@pytest.fixture(params=[0, 2])
def layer(request):
    layer = PseudoClassBatchNorm(
        3, num_classes=2, num_pseudo_classes=5, latent_dim=request.param, epsilon=1e-3
    )
    layer.build((None, 2, 4, 3))
    return layer


def test_variables_start_at_zero(layer):
    shapes = {v.name: tuple(v.shape) for v in layer.trainable_variables}
    expected = {"prior": (5, 3), "scores": (5, 2), "residual": (2, 3)}
    if layer.latent_dim:
        expected["latent"] = (2, 3)
    assert shapes == {f"{p}_{name}": s for p in PARTS for name, s in expected.items()}
    assert all(not np.any(v) for v in layer.trainable_variables)


def test_tables_are_mixed_priors_plus_residuals(layer):
    randomize(layer)
    values = {v.name: ops.convert_to_numpy(v) for v in layer.trainable_variables}
    for part, actual in zip(PARTS, layer.class_tables(), strict=True):
        expected = np.stack(
            [
                sum(values[f"{part}_scores"][n, m] * values[f"{part}_prior"][n] for n in range(5))
                + values[f"{part}_residual"][m]
                for m in range(2)
            ]
        )
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_modulation_is_in_offset_form(layer):
    """All at zero, the scale is 1 and the shift 0, whatever class and latent."""
    condition = Condition(np.eye(2, dtype=np.float32), normal(2, 2) if layer.latent_dim else None)
    scale, shift = layer.modulation(condition, False)
    np.testing.assert_array_equal(scale, np.ones((2, 3)))
    np.testing.assert_array_equal(shift, np.zeros((2, 3)))


def test_one_hot_scores_restore_an_old_class(layer):
    randomize(layer)
    old = TableBatchNorm(3, num_classes=5, latent_dim=layer.latent_dim, epsilon=1e-3)
    old.build((None, 2, 4, 3))
    for part in PARTS:
        getattr(old, f"{part}_table").assign(getattr(layer, f"{part}_prior"))
        getattr(layer, f"{part}_scores").assign(np.eye(5)[:, [4, 1]])
        getattr(layer, f"{part}_residual").assign(np.zeros((2, 3)))
        if layer.latent_dim:
            getattr(old, f"{part}_latent").assign(getattr(layer, f"{part}_latent"))
    x, z = normal(2, 2, 4, 3), normal(2, 2, seed=1) if layer.latent_dim else None
    new = layer(x, Condition(np.eye(2, dtype=np.float32), z))
    expected = old(x, Condition(np.eye(5, dtype=np.float32)[[4, 1]], z))
    np.testing.assert_allclose(new, expected, atol=1e-6)


def test_folds_to_the_new_classes_tables(layer):
    randomize(layer)
    folded = layer.fold(embeddings=None)
    for actual, expected in zip(folded, layer.class_tables(), strict=False):
        np.testing.assert_array_equal(actual, expected)
    assert (folded.scale_latent is None) == (layer.latent_dim == 0)


def test_config_round_trip(layer):
    config = layer.get_config()
    again = PseudoClassBatchNorm.from_config(config)
    assert again.get_config() == config
    assert (again.num_classes, again.num_pseudo_classes) == (2, 5)
    assert (again.latent_dim, again.epsilon) == (layer.latent_dim, 1e-3)


def test_domains_are_rejected():
    with pytest.raises(ValueError, match="one domain; fold it for several"):
        PseudoClassBatchNorm(3, num_classes=2, num_pseudo_classes=5, domains=2)


# Parity with the code the authors launched for CIFAR, which has no spectral norm here:
# gain = 1 + P (C c + c0) + p0 + R c (+ Z z + z0). For one-hot c its biases are part of our scores
# (c0 in every column) and residuals (p0 and z0 in every row).


@pytest.fixture(params=["cifar", "cifar_hier_shared"])
def golden(request):
    prefix = request.param + "/"
    return {k.removeprefix(prefix): v for k, v in GOLDENS.items() if k.startswith(prefix)}


def layer_of(golden):
    state = {k.removeprefix("state/"): v for k, v in golden.items() if k.startswith("state/")}
    latent_dim = golden["condition"].shape[1] - 4
    layer = PseudoClassBatchNorm(
        12,
        num_classes=4,
        num_pseudo_classes=9,
        latent_dim=latent_dim,
        epsilon=float(golden["bn_eps"]),
    )
    layer.build((None, 5, 5, 12))
    for part, letter in PARTS.items():
        prior, residual = state[f"prev_knowledge_{letter}.weight"], state[f"res_{letter}.weight"].T
        scores = state[f"comb_layer_{letter}.weight"] + state[f"comb_layer_{letter}.bias"][:, None]
        residual = residual + state[f"prev_knowledge_{letter}.bias"]
        if latent_dim:
            residual = residual + state[f"z_layer_{letter}.bias"]
            getattr(layer, f"{part}_latent").assign(state[f"z_layer_{letter}.weight"].T)
        getattr(layer, f"{part}_prior").assign(prior.T)
        getattr(layer, f"{part}_scores").assign(scores)
        getattr(layer, f"{part}_residual").assign(residual)
    layer.moving_mean.assign(state["stored_mean"])
    layer.moving_variance.assign(state["stored_var"])
    return layer


def condition_of(golden):
    one_hot, z = golden["condition"][:, :4], golden["condition"][:, 4:]
    return Condition(one_hot, z if z.shape[1] else None)


def test_outputs_equal_the_authors_code(golden):
    layer, condition = layer_of(golden), condition_of(golden)
    scale, shift = layer.modulation(condition, True)
    np.testing.assert_allclose(scale, golden["train/gain"], atol=1e-5)
    np.testing.assert_allclose(shift, golden["train/bias"], atol=1e-5)
    x = nhwc(golden["x_nchw"])
    y = layer(x, condition, training=True)
    np.testing.assert_allclose(y, nhwc(golden["train/output_nchw"]), atol=2e-5)
    np.testing.assert_allclose(layer.moving_mean, golden["train/stored_mean_after"], atol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, golden["train/stored_var_after"], atol=1e-5)
    y = layer(x, condition)
    np.testing.assert_allclose(y, nhwc(golden["eval_after_train/output_nchw"]), atol=2e-5)


def test_gradients_equal_the_authors_code(golden):
    layer = layer_of(golden)
    with tf.GradientTape() as tape:
        y = layer(nhwc(golden["x_nchw"]), condition_of(golden), training=True)
        loss = tf.reduce_sum(y * nhwc(golden["upstream_nchw"]))
    names = [v.name for v in layer.trainable_variables]
    gradients = dict(
        zip(names, tape.gradient(loss, [v.value for v in layer.trainable_variables]), strict=True)
    )

    def assert_equal(actual, name):
        expected = golden[f"train/grad/{name}"]
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4, err_msg=name)

    for part, letter in PARTS.items():
        assert_equal(tf.transpose(gradients[f"{part}_prior"]), f"prev_knowledge_{letter}.weight")
        scores = gradients[f"{part}_scores"]
        assert_equal(scores, f"comb_layer_{letter}.weight")
        assert_equal(tf.reduce_sum(scores, axis=1), f"comb_layer_{letter}.bias")
        assert_equal(tf.transpose(gradients[f"{part}_residual"]), f"res_{letter}.weight")
        if layer.latent_dim:
            assert_equal(tf.transpose(gradients[f"{part}_latent"]), f"z_layer_{letter}.weight")
