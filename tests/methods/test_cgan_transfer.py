"""cGANTransfer: initial values, identity with the source, trained sets and counts, penalties."""

import dataclasses
import functools

import numpy as np
import pytest
from keras import ops
from tiny_sources import penalties, trained_variables

from cgt_tf.errors import InputError
from cgt_tf.methods.base import DataSpec
from cgt_tf.methods.cgan_transfer import CGANTransfer
from cgt_tf.methods.cgan_transfer_settings import CGANTransferSettings
from cgt_tf.methods.registry import create_config
from cgt_tf.networks.fold import fold_norms
from cgt_tf.networks.gan import Gan, create_gan
from cgt_tf.networks.spec import biggan_spec
from cgt_tf.networks.weights import variable_name

VARIANTS = {
    "shared_hierarchical": {"shared_dim": 6, "hierarchical": True},
    "table": {},
}
OLD = [f"old{i}" for i in range(6)]
TARGET = DataSpec(("x", "y", "z"), 32)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def values(network):
    return {variable_name(v): ops.convert_to_numpy(v) for v in network.variables}


@functools.cache
def source_gan(variant):
    fields = {"dim_z": 16, "d_widths": (8, 8, 8), "d_halvings": 2, "d_attention": (16,)}
    fields.update(g_widths=(8, 8, 8, 4), g_attention=(16,), **VARIANTS[variant])
    gan = create_gan(biggan_spec(32, len(OLD), channels=4, **fields), OLD)
    for network in (gan.generator, gan.discriminator):
        for i, variable in enumerate(network.variables):
            value = normal(*variable.shape, seed=i)
            positive = variable.name == "moving_variance"
            variable.assign(np.abs(value) + 0.5 if positive else value / 2)
    return gan


@pytest.fixture(params=VARIANTS)
def source(request):
    return source_gan(request.param)


@functools.cache
def transferred(variant):
    """A method, what it built, and the initial values by variable."""
    method = CGANTransfer(create_config(seed=3))
    gan = method.build((source_gan(variant),), TARGET)
    variables = gan.generator.variables + gan.discriminator.variables
    return method, gan, [(v, ops.convert_to_numpy(v)) for v in variables]


def build(source, **settings):
    """The cached result, as it was built; `settings` of the penalties are read when called."""
    variant = next(name for name in VARIANTS if source_gan(name) is source)
    method, gan, initial = transferred(variant)
    for variable, value in initial:
        variable.assign(value)
    method.settings = CGANTransferSettings(**settings)
    return method, gan


def parts(gan, name):
    """All variables of one kind, e.g. "scores": scale and shift of every norm, in order."""
    return [
        part.residual if name == "residual" else getattr(part, name).kernel
        for norm in gan.generator.conditional_norms()
        for part in (norm.scale, norm.shift)
    ]


# Initial values.


def test_prior_is_the_sources_folded_offsets(source):
    _, gan = build(source)
    for norm, state in zip(
        gan.generator.conditional_norms(), fold_norms(source.generator), strict=True
    ):
        np.testing.assert_array_equal(norm.scale.prior.kernel, state.offsets.scale)
        np.testing.assert_array_equal(norm.shift.prior.kernel, state.offsets.shift)
        np.testing.assert_array_equal(norm.moving_mean, state.moving_mean[0, 0])
        np.testing.assert_array_equal(norm.moving_variance, state.moving_variance[0, 0])
        if source.spec.hierarchical:
            np.testing.assert_array_equal(norm.scale.latent.kernel, state.offsets.scale_latent)
            np.testing.assert_array_equal(norm.shift.latent.kernel, state.offsets.shift_latent)


def test_scores_start_around_one_over_n_and_residuals_at_zero(source):
    _, gan = build(source)
    scores = np.stack([ops.convert_to_numpy(s) for s in parts(gan, "scores")])
    assert scores.shape == (12, 6, 3)
    noise = scores - 1 / 6
    # 216 draws: the mean is within 4 standard errors of 0, the spread within 25 % of 0.005.
    assert abs(noise.mean()) < 4 * 0.005 / np.sqrt(noise.size)
    assert 0.75 * 0.005 < noise.std() < 1.25 * 0.005
    assert len(np.unique(scores)) == scores.size, "each layer, part and class draws its own"
    assert not any(np.any(residual) for residual in parts(gan, "residual"))


def test_scores_depend_on_the_seed_and_the_configured_spread():
    source = source_gan("table")

    def scores(seed, std):
        config = create_config("cgan_transfer", {"scores_std": std}, seed=seed)
        gan = CGANTransfer(config).build((source,), TARGET)
        return np.stack([ops.convert_to_numpy(s) for s in parts(gan, "scores")])

    first = np.stack([ops.convert_to_numpy(s) for s in parts(build(source)[1], "scores")])
    np.testing.assert_array_equal(scores(seed=3, std=0.005), first)
    assert np.abs(scores(seed=4, std=0.005) - first).max() > 1e-3
    np.testing.assert_allclose(scores(seed=3, std=0.0), np.full(first.shape, 1 / 6), rtol=1e-6)


def test_discriminator_is_copied_but_for_the_projection_table(source):
    _, gan = build(source)
    old, new = values(source.discriminator), values(gan.discriminator)
    assert old.keys() == new.keys()
    fresh = {"class_projection/embeddings", "class_projection/u"}
    for name in new.keys() - fresh:
        np.testing.assert_array_equal(new[name], old[name], err_msg=name)
    assert new["class_projection/embeddings"].shape == (3, 8)
    assert np.abs(new["class_projection/embeddings"]).max() > 1e-3


def test_result_names_the_new_classes(source):
    _, gan = build(source)
    assert gan.class_names == ["x", "y", "z"]
    assert (gan.spec.num_classes, gan.spec.shared_dim) == (3, 0)
    assert gan.generator.spec == gan.discriminator.spec == gan.spec
    assert not any(layer.spectral_norm for layer in gan.generator.spectral_layers())


def test_build_and_use_leave_the_source_as_it_is(source):
    before = [values(source.generator), values(source.discriminator)]
    gan = CGANTransfer(create_config()).build((source,), TARGET)
    images, _ = gan.generator(normal(2, 16), np.array([0, 1]), training=True)
    gan.discriminator(images, np.array([0, 1]), training=True)
    for variables in (gan.generator.variables, gan.discriminator.variables):
        for variable in variables:
            variable.assign(ops.convert_to_numpy(variable) + 1)
    for network, old in zip((source.generator, source.discriminator), before, strict=True):
        for name, value in values(network).items():
            np.testing.assert_array_equal(value, old[name], err_msg=name)


def test_extended_keeps_the_old_classes_bit_identical(source):
    transfer, gan = build(source)
    extended = transfer.extended(gan)
    assert extended.class_names == [*OLD, "x", "y", "z"]
    z, labels = normal(3, 16), np.array([5, 0, 2])
    np.testing.assert_allclose(extended(z, labels), source.generator(z, labels)[0], atol=1e-5)
    before = ops.convert_to_numpy(extended(z, labels))
    gan.generator(normal(4, 16), np.array([0, 1, 2, 0]), training=True)
    (stage,) = transfer.stages(gan)
    for variable in trained_variables(gan, stage, "generator"):
        variable.assign(ops.convert_to_numpy(variable) + 0.1)
    extended = transfer.extended(gan)
    np.testing.assert_array_equal(extended(z, labels), before)
    new = gan.generator(z, np.array([2, 0, 1]))[0]
    np.testing.assert_allclose(extended(z, np.array([8, 6, 7])), new, atol=1e-5)


# What is trained.


def test_trained_and_frozen_variables(source):
    transfer, gan = build(source)
    (stage,) = transfer.stages(gan)
    assert (stage.name, stage.steps) == ("propagate", create_config().training.steps)
    kinds = ["prior/kernel", "scores/kernel", "residual"]
    kinds += ["latent/kernel"] * bool(source.spec.chunk_dim)
    expected = {
        f"block_{i}/norm{j}/{part}/{kind}"
        for i in range(3)
        for j in (1, 2)
        for part in ("scale", "shift")
        for kind in kinds
    }
    trained = trained_variables(gan, stage, "generator")
    assert {variable_name(v) for v in trained} == expected
    frozen = {variable_name(v) for v in gan.generator.trainable_variables} - expected
    convs = {
        f"block_{i}/{c}/{w}"
        for i in range(3)
        for c in ("conv1", "conv2", "shortcut")
        for w in ("kernel", "bias")
    }
    attention = {f"attention_1/{name}/kernel" for name in ("theta", "phi", "g", "o")}
    others = {"linear/kernel", "linear/bias", "output_conv/kernel", "output_conv/bias"}
    others |= {"output_norm/gain", "output_norm/bias", "attention_1/gain"}
    assert frozen == convs | attention | others
    discriminator = gan.discriminator.trainable_variables
    assert trained_variables(gan, stage, "discriminator") == discriminator


def expected_counts(spec, new_classes):
    """From the equation: P [N, C], S [N, M], R [M, C], Z [chunk, C], for scale and shift each."""
    channels = [c for pair in zip(spec.g_widths, spec.g_widths[1:], strict=False) for c in pair]
    return {
        "prior": 2 * spec.num_classes * sum(channels),
        "scores": 2 * len(channels) * spec.num_classes * new_classes,
        "residual": 2 * new_classes * sum(channels),
        "latent": 2 * spec.chunk_dim * sum(channels),
    }


def test_trained_counts(source):
    transfer, gan = build(source)
    trained = trained_variables(gan, transfer.stages(gan)[0], "generator")
    for kind, expected in expected_counts(source.spec, 3).items():
        shapes = [v.shape for v in trained if f"/{kind}" in v.path]
        assert sum(int(np.prod(shape)) for shape in shapes) == expected, kind


# Penalties.


def random_penalties(source, **settings):
    transfer, gan = build(source, **settings)
    for i, variable in enumerate(parts(gan, "scores") + parts(gan, "residual")):
        variable.assign(normal(*variable.shape, seed=i))
    scores = [ops.convert_to_numpy(v) for v in parts(gan, "scores")]
    residuals = [ops.convert_to_numpy(v) for v in parts(gan, "residual")]
    return penalties(gan, transfer.stages(gan)[0]), scores, residuals


def test_mean_penalties(source):
    computed, scores, residuals = random_penalties(source, l1_scores=0.01, l2_residual=0.1)
    assert computed == {
        "l1_scores": pytest.approx(0.01 * sum(np.abs(s).mean() for s in scores), rel=1e-5),
        "l2_residual": pytest.approx(0.1 * sum((r**2).mean() for r in residuals), rel=1e-5),
    }


def test_sum_penalties(source):
    weights = {"l1_scores": 2e-6, "l2_residual": 3e-5}
    computed, scores, residuals = random_penalties(source, reduction="sum", **weights)
    assert computed == {
        "l1_scores": pytest.approx(2e-6 * sum(np.abs(s).sum() for s in scores), rel=1e-5),
        "l2_residual": pytest.approx(3e-5 * sum((r**2).sum() for r in residuals), rel=1e-5),
    }


def test_penalties_follow_the_variables(source):
    transfer, gan = build(source)
    (stage,) = transfer.stages(gan)
    assert penalties(gan, stage)["l2_residual"] == 0
    parts(gan, "residual")[0].assign(np.ones(parts(gan, "residual")[0].shape))
    expected = CGANTransferSettings().l2_residual
    assert penalties(gan, stage)["l2_residual"] == pytest.approx(expected)


# What does not fit.


def test_wrong_resolution():
    message = "expected images of the source's resolution 32, got 64"
    with pytest.raises(InputError, match=message):
        CGANTransfer(create_config()).build((source_gan("table"),), DataSpec(("x",), 64))


def test_repeated_classes():
    target = DataSpec(("x", "old3", "old1"), 32)
    message = "expected new classes, got classes of the source: old1, old3$"
    with pytest.raises(InputError, match=message):
        CGANTransfer(create_config()).build((source_gan("table"),), target)


def test_missing_discriminator():
    gan = dataclasses.replace(source_gan("table"), discriminator=None)
    assert isinstance(gan, Gan)
    with pytest.raises(InputError, match=r"--config\.discriminator\.source=<handle>"):
        CGANTransfer(create_config()).build((gan,), TARGET)
    config = create_config()
    config.discriminator.warmup_steps = 1
    fresh = CGANTransfer(config).build((gan,), TARGET).discriminator
    assert fresh.num_classes == len(TARGET.class_names)
