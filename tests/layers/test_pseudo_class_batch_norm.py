"""The transfer norm: its equation, folding, configuration."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from cgt_tf.layers.conditional_batch_norm import Condition, TableBatchNorm
from cgt_tf.layers.pseudo_class_batch_norm import (
    PropagatedOffsets,
    PseudoClassBatchNorm,
    ScoreMatrix,
)

PARTS = ("scale", "shift")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def randomize(layer):
    for i, variable in enumerate(layer.trainable_variables):
        variable.assign(normal(*variable.shape, seed=i))


def below(layer, variable):
    """`scale/prior/kernel` of the variable's path."""
    return variable.path.partition("/")[2]


def build(latent_dim=0, **settings):
    offsets = {"num_classes": 2, "num_pseudo_classes": 5, "latent_dim": latent_dim, **settings}
    layer = PseudoClassBatchNorm(3, offsets=offsets, epsilon=1e-3)
    layer.build((None, 2, 4, 3))
    return layer


@pytest.fixture(params=[0, 2])
def layer(request):
    return build(request.param)


def parts(layer):
    return (layer.scale, layer.shift)


def test_variables_start_at_zero(layer):
    shapes = {below(layer, v): tuple(v.shape) for v in layer.trainable_variables}
    expected = {"prior/kernel": (5, 3), "scores/kernel": (5, 2), "residual": (2, 3)}
    if layer.scale.latent is not None:
        expected["latent/kernel"] = (2, 3)
    assert shapes == {f"{p}/{name}": s for p in PARTS for name, s in expected.items()}
    assert all(not np.any(v) for v in layer.trainable_variables)


def test_biases_and_spectral_norms_add_their_variables():
    biases = {"score_bias": True, "prior_bias": True, "latent_bias": True}
    layer = build(2, spectral_norm=True, **biases)
    names = {below(layer, v) for v in layer.scale.variables}
    kinds = {f"scale/{part}/{x}" for part in ("prior", "scores", "latent") for x in "kb"}
    expected = {k.replace("/k", "/kernel").replace("/b", "/bias") for k in kinds}
    expected |= {f"scale/{part}/u" for part in ("prior", "scores", "latent")} | {"scale/residual"}
    assert names == {name.removeprefix("scale/") for name in expected} or names == expected


def test_tables_are_mixed_priors_plus_residuals(layer):
    randomize(layer)
    for part in parts(layer):
        prior, scores = (ops.convert_to_numpy(x.kernel) for x in (part.prior, part.scores))
        residual = ops.convert_to_numpy(part.residual)
        expected = [sum(scores[n, m] * prior[n] for n in range(5)) + residual[m] for m in range(2)]
        np.testing.assert_allclose(part.table(), expected, rtol=1e-5, atol=1e-6)


def test_without_pseudo_classes_there_are_residuals_alone():
    layer = build(num_pseudo_classes=0)
    assert {below(layer, v) for v in layer.trainable_variables} == {
        f"{part}/residual" for part in PARTS
    }
    randomize(layer)
    np.testing.assert_array_equal(layer.scale.table(), layer.scale.residual)


def test_without_residuals_there_are_pseudo_classes_alone():
    layer = build(residual=False)
    randomize(layer)
    expected = ops.convert_to_numpy(layer.shift.scores.kernel).T @ ops.convert_to_numpy(
        layer.shift.prior.kernel
    )
    np.testing.assert_allclose(layer.shift.table(), expected, rtol=1e-5, atol=1e-6)
    assert layer.shift.residual is None


def test_scores_are_shared():
    scores = {part: ScoreMatrix(2, name="scores") for part in PARTS}
    offsets = {"num_classes": 2, "num_pseudo_classes": 5}
    layers = [PseudoClassBatchNorm(3, offsets=offsets, scores=scores) for _ in range(2)]
    for layer in layers:
        layer.build((None, 2, 4, 3))
    first, second = layers
    assert first.scale.scores is second.scale.scores is scores["scale"]
    assert first.scale.scores is not first.shift.scores
    randomize(first)
    randomize(second)
    before = ops.convert_to_numpy(second.scale.table())
    first.scale.scores.kernel.assign(np.ones((5, 2)))
    assert np.abs(second.scale.table() - before).max() > 0.1


def test_modulation_is_in_offset_form(layer):
    """All at zero, the scale is 1 and the shift 0, whatever class and latent."""
    z = None if layer.scale.latent is None else normal(2, 2)
    scale, shift = layer.modulation(Condition(np.eye(2, dtype=np.float32), z), False)
    np.testing.assert_array_equal(scale, np.ones((2, 3)))
    np.testing.assert_array_equal(shift, np.zeros((2, 3)))


def test_one_hot_scores_restore_an_old_class(layer):
    randomize(layer)
    dim = 0 if layer.scale.latent is None else 2
    old = TableBatchNorm(3, num_classes=5, latent_dim=dim, epsilon=1e-3)
    old.build((None, 2, 4, 3))
    for name, part in zip(PARTS, parts(layer), strict=True):
        getattr(old, f"{name}_table").assign(part.prior.kernel)
        part.scores.kernel.assign(np.eye(5)[:, [4, 1]])
        part.residual.assign(np.zeros((2, 3)))
        if dim:
            getattr(old, f"{name}_latent").assign(part.latent.kernel)
    x, z = normal(2, 2, 4, 3), normal(2, 2, seed=1) if dim else None
    new = layer(x, Condition(np.eye(2, dtype=np.float32), z))
    expected = old(x, Condition(np.eye(5, dtype=np.float32)[[4, 1]], z))
    np.testing.assert_allclose(new, expected, atol=1e-6)


def test_labels_and_their_one_hot_rows_modulate_and_learn_alike(layer):
    randomize(layer)
    z = None if layer.scale.latent is None else normal(4, 2)
    labels = np.array([1, 0, 1, 1], np.int32)
    found = []
    for given in (None, labels):
        condition = Condition(np.eye(2, dtype=np.float32)[labels], z, labels=given)
        values = [variable.value for variable in layer.trainable_variables]
        with tf.GradientTape() as tape:
            scale, shift = layer.modulation(condition, True)
            loss = tf.reduce_sum(scale * normal(4, 3) + shift * normal(4, 3, seed=1))
        gradients = map(tf.convert_to_tensor, tape.gradient(loss, values))
        found.append([scale, shift, *gradients])
    for by_rows, by_label in zip(*found, strict=True):
        assert np.any(by_rows)
        np.testing.assert_allclose(by_label, by_rows, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("latent_dim", [0, 2])
@pytest.mark.parametrize("spectral_norm", [False, True])
def test_folded_tables_give_the_same_modulation(latent_dim, spectral_norm):
    biases = {"score_bias": True, "prior_bias": True, "latent_bias": latent_dim > 0}
    layer = build(latent_dim, spectral_norm=spectral_norm, **biases)
    randomize(layer)
    folded = layer.fold()
    z = normal(2, latent_dim, seed=1) if latent_dim else None
    actual = layer.modulation(Condition(np.eye(2, dtype=np.float32), z), False)
    scale, shift = 1 + folded.scale, folded.shift
    if latent_dim:
        scale, shift = scale + z @ folded.scale_latent, shift + z @ folded.shift_latent
    np.testing.assert_allclose(actual[0], scale, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(actual[1], shift, rtol=1e-5, atol=1e-5)


def test_config_round_trip(layer):
    config = layer.get_config()
    again = PseudoClassBatchNorm.from_config(config)
    assert again.get_config() == config
    assert again.scale.settings == layer.scale.settings
    assert again.epsilon == 1e-3


def test_an_embedding_is_looked_up_in_the_table():
    embedding = PropagatedOffsets(4, num_classes=2, num_pseudo_classes=5)
    embedding.build()
    randomize(embedding)
    weights = np.float32([[0.25, 0.75], [1, 0]])
    expected = weights @ ops.convert_to_numpy(embedding.table())
    np.testing.assert_allclose(embedding(weights), expected, rtol=1e-5, atol=1e-6)


def test_class_weights_scale_what_classes_have_of_their_own():
    """With all weights at 0 the biases of scores, pseudo-classes and latents are left."""
    layer = build(2, score_bias=True, prior_bias=True, latent_bias=True)
    randomize(layer)
    part, z = layer.scale, normal(2, 2, seed=1)
    prior, bias = (ops.convert_to_numpy(x) for x in (part.prior.kernel, part.scores.bias))
    common = bias @ prior + part.prior.bias + part.latent(z)
    weights = np.eye(2, dtype=np.float32)
    nothing, whole = part(0 * weights, z), part(weights, z)
    np.testing.assert_allclose(nothing, common, rtol=1e-5, atol=1e-5)
    half = part(weights / 2, z)
    np.testing.assert_allclose(half, (nothing + whole) / 2, rtol=1e-5, atol=1e-5)
