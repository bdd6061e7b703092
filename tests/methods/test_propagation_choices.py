"""The choices of `config.method`: the paper's ablations, the released code, fine-tuning, chains."""

import functools

import numpy as np
import pytest
from keras import ops
from presets import preset

from cgt_tf.config import Config, MethodConfig
from cgt_tf.data.image_set import ImageSet
from cgt_tf.errors import InputError
from cgt_tf.methods.base import DataSpec, select_variables, variable_name
from cgt_tf.methods.bsa_adv import BSAAdversarial
from cgt_tf.methods.cgan_transfer import CGANTransfer
from cgt_tf.methods.propagation_init import nearest_classes
from cgt_tf.models.fold import fold_norms
from cgt_tf.models.gan import create_gan
from cgt_tf.models.spec import biggan_spec

OLD = [f"old{i}" for i in range(6)]
VARIANTS = {
    "hierarchical": {"shared_dim": 6, "hierarchical": True},
    "table": {},
    "deep": {"architecture": "biggan_deep", "shared_dim": 6},
}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@functools.cache
def source_gan(variant):
    fields = {"dim_z": 16, "d_widths": (8, 8, 8), "d_halvings": 2, "d_attention": (16,)}
    fields.update(g_widths=(8, 8, 8, 4), g_attention=(16,), **VARIANTS[variant])
    gan = create_gan(biggan_spec(32, len(OLD), channels=4, **fields), OLD)
    for i, variable in enumerate(gan.generator.variables):
        value = normal(*variable.shape, seed=i)
        variable.assign(np.abs(value) + 0.5 if variable.name == "moving_variance" else value / 2)
    return gan


def build(variant="table", names=("x", "y"), method=CGANTransfer, source=None, seed=1, **settings):
    config = Config(seed=seed, method=MethodConfig(**settings))
    transfer = method(config)
    return transfer, transfer.build(source or source_gan(variant), DataSpec(names, 32))


def trained_kinds(transfer, gan):
    """Kinds of trained variables: scores, prior, residual, latent, or the layer's own name."""
    (stage,) = transfer.stages()
    names = [
        variable_name(v)
        for v in select_variables(gan.generator.trainable_variables, stage.generator)
    ]
    kinds = set()
    for name in names:
        parts = name.split("/")
        inside = "norm" in parts[1] if name.startswith("block") else "embedding" in parts[0]
        kinds.add(parts[-1] if parts[-1] == "residual" else parts[-2] if inside else parts[0][:6])
    return kinds


# Ablations (table 2 of the paper).


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("settings", "kinds"),
    [
        ({}, {"prior", "scores", "residual"}),
        ({"train_prior": False, "residual": False}, {"scores"}),
        ({"train_prior": False}, {"scores", "residual"}),
        ({"residual": False}, {"prior", "scores"}),
        ({"propagate": False}, {"residual"}),
    ],
)
def test_trained_kinds(variant, settings, kinds):
    latent = {"latent"} if variant != "table" else set()
    assert trained_kinds(*build(variant, **settings)) == kinds | latent


def test_shared_scores_are_one_pair_for_all_layers():
    transfer, gan = build("hierarchical", per_layer_scores=False)
    names = {v.path for v in gan.generator.trainable_variables if "/scores/" in v.path}
    assert len(names) == 2
    norms = gan.generator.conditional_norms()
    assert len({id(norm.scale.scores) for norm in norms}) == 1
    scores = ops.convert_to_numpy(norms[0].scale.scores.kernel)
    assert np.abs(scores - 1 / 6).max() < 0.05
    expected = 0.01 * sum(
        np.abs(ops.convert_to_numpy(m.kernel)).mean()
        for m in (norms[0].scale.scores, norms[0].shift.scores)
    )
    assert float(transfer.stages()[0].penalties()["l1_scores"]) == pytest.approx(expected, rel=1e-5)
    per_layer = build("hierarchical")[1].generator.trainable_variables
    assert len([v for v in per_layer if "/scores/" in v.path]) == 12


def test_bsa_adv_trains_residuals_alone_and_starts_from_scale_1():
    transfer, gan = build("table", method=BSAAdversarial)
    assert trained_kinds(transfer, gan) == {"residual"}
    for state in fold_norms(gan.generator):
        assert not np.any(state.offsets.scale) and not np.any(state.offsets.shift)
    assert float(sum(transfer.stages()[0].penalties().values())) == 0


def test_residuals_may_start_at_the_mean_of_the_old_classes():
    _, gan = build("table", method=BSAAdversarial, residual_init="mean_old")
    old = fold_norms(source_gan("table").generator)
    for state, norm in zip(old, gan.generator.conditional_norms(), strict=True):
        expected = np.tile(state.offsets.scale.mean(axis=0), (2, 1))
        np.testing.assert_allclose(norm.scale.residual, expected, rtol=1e-5, atol=1e-6)


# The released code.


def test_the_paper_preset_is_the_default():
    assert MethodConfig(**preset("paper")) == MethodConfig()


def test_code_imagenet_starts_from_raw_matrices_and_orthogonal_columns():
    _, gan = build("hierarchical", **preset("code_imagenet"))
    source = source_gan("hierarchical").generator
    table = ops.convert_to_numpy(source.class_embedding.table())
    for norm, old in zip(
        gan.generator.conditional_norms(), source.conditional_norms(), strict=True
    ):
        part = norm.scale
        raw = table @ ops.convert_to_numpy(old.scale.kernel)[: table.shape[1]]
        np.testing.assert_allclose(part.prior.kernel, raw, rtol=1e-4, atol=1e-5)
        gram = ops.convert_to_numpy(part.scores.kernel)
        np.testing.assert_allclose(gram.T @ gram, np.eye(2), atol=1e-5)
        assert 0 < np.abs(part.scores.bias).max() <= 2**-0.5
        assert 0 < np.abs(part.latent.bias).max() <= 4**-0.5
        np.testing.assert_allclose(
            np.linalg.norm(ops.convert_to_numpy(part.residual), axis=1), [1, 1], rtol=1e-4
        )


def test_code_cifar_has_plain_tables_and_small_random_scores():
    _, gan = build("table", **preset("code_cifar"))
    old = fold_norms(source_gan("table").generator)
    scores = []
    for state, norm in zip(old, gan.generator.conditional_norms(), strict=True):
        np.testing.assert_array_equal(norm.shift.prior.kernel, state.offsets.shift)
        assert not norm.shift.prior.spectral_norm
        assert 0 < np.abs(norm.shift.prior.bias).max() <= 6**-0.5
        scores.append(ops.convert_to_numpy(norm.shift.scores.kernel))
    assert abs(np.mean(scores)) < 0.02
    assert 0.01 < np.std(scores) < 0.03


def test_the_score_bias_is_penalised_like_the_scores():
    transfer, _ = build("table", score_bias=True, l1_scores=1.0)
    expected = sum(
        np.abs(ops.convert_to_numpy(x)).mean()
        for m in transfer._score_matrices()
        for x in (m.kernel, m.bias)
    )
    assert float(transfer.stages()[0].penalties()["l1_scores"]) == pytest.approx(expected, rel=1e-5)


# Nearest old classes.


def image_set(seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    return ImageSet(images, np.arange(8, dtype=np.int32) % 2, ("x", "y"), "random")


def test_scores_start_at_the_nearest_classes():
    source, data = source_gan("table"), image_set()
    transfer, gan = build("table", scores_init="nearest", nearest_classes=2, scores_std=0.0)
    transfer.prepare(gan, data)
    nearest = nearest_classes(source, data, 2)
    for norm in gan.generator.conditional_norms():
        scores = ops.convert_to_numpy(norm.scale.scores.kernel)
        for label, classes in enumerate(nearest):
            expected = np.isin(np.arange(6), classes) / 2
            np.testing.assert_allclose(scores[:, label], expected, atol=1e-6)


def test_nearest_classes_are_those_the_discriminator_prefers():
    source, data = source_gan("table"), image_set()
    images = data.images[data.labels == 1].astype(np.float32) / 127.5 - 1
    logits = [
        float(np.mean(source.discriminator(images, np.full(len(images), y, np.int32))[0]))
        for y in range(6)
    ]
    expected = np.argsort(logits)[::-1]
    np.testing.assert_array_equal(nearest_classes(source, data, 6)[1], expected)
    assert len(nearest_classes(source, data, 99)[0]) == 6


# Fine-tuning (section 5.4 of the paper).


@pytest.mark.parametrize("variant", VARIANTS)
def test_fine_tuning_goes_on_from_the_first_stage(variant):
    _, first = build(variant)
    for i, variable in enumerate(first.generator.variables):
        if "norm" in variable.path or "embedding" in variable.path:
            value = normal(*variable.shape, seed=50 + i)
            variable.assign(
                np.abs(value) + 0.5 if variable.name == "moving_variance" else value / 2
            )
    transfer, gan = build(variant, seed=2, stage="fine_tune", start="run")
    transfer.continue_from(gan, first)
    z, labels = normal(3, 16), np.array([1, 0, 1])
    expected = first.generator(z, labels)[0]
    np.testing.assert_allclose(gan.generator(z, labels)[0], expected, atol=2e-4)
    kinds = trained_kinds(transfer, gan)
    assert {"residual", "linear", "block_", "output", "attent"} <= kinds
    assert not kinds & {"scores", "prior"}
    assert ("latent" in kinds) == (variant != "table")
    assert all(layer.spectral_norm for layer in gan.generator.spectral_layers())
    assert set(transfer.stages()[0].penalties()) == {"l2_residual"}
    extended = transfer.extended(gan)
    assert extended.class_names == ["x", "y"], "the old classes' weights have changed"
    np.testing.assert_allclose(extended(z, labels), expected, atol=2e-4)


def test_fine_tuning_needs_the_same_classes_and_settings():
    _, first = build("table")
    transfer, gan = build("table", names=("x", "z"), stage="fine_tune", start="run")
    with pytest.raises(InputError, match=r"expected the classes of .* x, y, got x, z"):
        transfer.continue_from(gan, first)
    transfer, gan = build("table", stage="fine_tune", start="run", score_bias=True)
    with pytest.raises(InputError, match=r"a run with the same settings, it has no .*scores/bias"):
        transfer.continue_from(gan, first)
    transfer, gan = build("table", method=BSAAdversarial, stage="fine_tune", start="run")
    with pytest.raises(InputError, match=r"a run with the same settings, it has also .*prior"):
        transfer.continue_from(gan, first)


def test_fine_tuning_needs_a_first_stage_from_its_source():
    """A run of fine-tuning itself, or of another source, has other convolutions."""
    _, first = build("table")
    transfer, gan = build("table", stage="fine_tune", start="run")
    before = [ops.convert_to_numpy(v) for v in gan.generator.variables]
    kernel = first.generator.blocks[1].conv2.kernel
    kernel.assign(kernel + 0.01)
    first.generator.output_norm.gain.assign(first.generator.output_norm.gain + 1)
    with pytest.raises(InputError, match=r"but its block_1/conv2/kernel is not the source's"):
        transfer.continue_from(gan, first)
    for variable, value in zip(gan.generator.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value, err_msg=variable.path)


# A transfer on top of a transfer.


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_second_transfer_leaves_all_earlier_classes_bit_identical(variant):
    first, gan = build(variant)
    extended = first.as_source(gan)
    assert extended.spec.domain_classes == (6, 2)
    assert extended.spec.d_classes == 2
    second, newer = build(names=("u", "v", "w"), source=extended)
    z, earlier = normal(4, 16), np.array([0, 5, 6, 7])
    before = ops.convert_to_numpy(extended.generator(z, earlier)[0])
    newer.generator(normal(4, 16), np.array([0, 1, 2, 0]), training=True)
    (stage,) = second.stages()
    for variable in select_variables(newer.generator.trainable_variables, stage.generator):
        variable.assign(ops.convert_to_numpy(variable) + 0.1)
    both = second.extended(newer)
    assert both.class_names == [*OLD, "x", "y", "u", "v", "w"]
    assert both.spec.domain_classes == (6, 2, 3)
    np.testing.assert_array_equal(both(z, earlier), before)
    expected = newer.generator(z[:3], np.array([0, 1, 2]))[0]
    np.testing.assert_allclose(both(z[:3], np.array([8, 9, 10])), expected, atol=1e-4)
    scores = newer.generator.conditional_norms()[0].scale.scores
    assert scores.kernel.shape == (8, 3), "all earlier classes are pseudo-classes"
