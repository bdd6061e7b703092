"""The choices of `config.cgan_transfer`: ablations, the released code, fine-tuning, chains."""

import functools

import numpy as np
import pytest
from keras import ops
from presets import preset
from tiny_sources import penalties, trained_variables, values

from cgt_tf.data.image_set import ImageSet
from cgt_tf.errors import InputError
from cgt_tf.methods import discriminant
from cgt_tf.methods.base import DataSpec
from cgt_tf.methods.cgan_transfer_settings import CGANTransferSettings
from cgt_tf.methods.discriminant import nearest_classes
from cgt_tf.methods.propagation import parts_of, score_matrices
from cgt_tf.methods.registry import create_config, create_method
from cgt_tf.networks.fold import fold_norms
from cgt_tf.networks.gan import create_gan
from cgt_tf.networks.spec import biggan_spec
from cgt_tf.networks.weights import variable_name
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.training.state import TrainState

OLD = [f"old{i}" for i in range(6)]
VARIANTS = {
    "hierarchical": {"shared_dim": 6, "hierarchical": True},
    "table": {},
    "deep": {"architecture": "biggan_deep", "shared_dim": 6},
}
# Runs of BigGAN-deep take twice as long; test_acceptance.py has one in the default run.
RUNS = ["hierarchical", "table", pytest.param("deep", marks=pytest.mark.slow)]


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


def build(
    variant="table", names=("x", "y"), method="cgan_transfer", source=None, seed=1, **settings
):
    transfer = create_method(create_config(method, settings, seed=seed))
    return transfer, transfer.build((source or source_gan(variant),), DataSpec(names, 32))


def trained_names(gan, stage):
    return {variable_name(v) for v in trained_variables(gan, stage, "generator")}


def trained_kinds(transfer, gan):
    """Kinds of the last stage's variables: scores, prior, residual, latent, or the layer's name."""
    kinds = set()
    for name in trained_names(gan, transfer.stages(gan)[-1]):
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
    (stage,) = transfer.stages(gan)
    assert penalties(gan, stage)["l1_scores"] == pytest.approx(expected, rel=1e-5)
    per_layer = build("hierarchical")[1].generator.trainable_variables
    assert len([v for v in per_layer if "/scores/" in v.path]) == 12


def test_bsa_adv_trains_residuals_alone_and_starts_from_scale_1():
    transfer, gan = build("table", method="bsa_adv")
    assert trained_kinds(transfer, gan) == {"residual"}
    for state in fold_norms(gan.generator):
        assert not np.any(state.offsets.scale) and not np.any(state.offsets.shift)
    (stage,) = transfer.stages(gan)
    assert sum(penalties(gan, stage).values()) == 0


def test_residuals_may_start_at_the_mean_of_the_old_classes():
    _, gan = build("table", method="bsa_adv", residual_init="mean_old")
    old = fold_norms(source_gan("table").generator)
    for state, norm in zip(old, gan.generator.conditional_norms(), strict=True):
        expected = np.tile(state.offsets.scale.mean(axis=0), (2, 1))
        np.testing.assert_allclose(norm.scale.residual, expected, rtol=1e-5, atol=1e-6)


# The released code.


def test_the_paper_preset_is_the_default():
    assert CGANTransferSettings(**preset("paper")) == CGANTransferSettings()
    assert set(preset("paper")) >= {"l1_scores", "l2_residual", "reduction", "scores_init"}


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
    transfer, gan = build("table", score_bias=True, l1_scores=1.0)
    expected = sum(
        np.abs(ops.convert_to_numpy(x)).mean()
        for m in score_matrices(parts_of(gan.generator))
        for x in (m.kernel, m.bias)
    )
    (stage,) = transfer.stages(gan)
    assert penalties(gan, stage)["l1_scores"] == pytest.approx(expected, rel=1e-5)


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


@pytest.mark.parametrize("kept", [[0, 1, 2, 3, 4, 5], [1, 3, 4]])
def test_scores_start_at_similar_classes_without_shrinking(kept, monkeypatch):
    q = np.array([[0.1, 0.3, 0.0, 0.3, 0.2, 0.1], [0.0, 0.1, 0.1, 0.0, 0.8, 0.0]])
    monkeypatch.setattr(discriminant, "log_similarities", lambda *_: np.log(q + 1e-300))
    settings = {"scores_init": "similar", "scores_std": 0.0, "prior_classes": len(kept)}
    transfer, gan = build("table", **settings)
    transfer.prepare(gan, image_set())
    weights = q[:, kept] / np.linalg.norm(q[:, kept], axis=1, keepdims=True)
    for part in parts_of(gan.generator):
        old = ops.convert_to_numpy(part.prior.kernel)
        expected = old.mean(axis=0) + weights @ (old - old.mean(axis=0))
        np.testing.assert_allclose(part.table(), expected, atol=1e-6)


# Fine-tuning (section 5.4 of the paper).


def save_run(transfer, gan, directory, moved=0.0):
    """A run's directory with a checkpoint of step 1.

    Its averages are the present weights; those that are trained are `moved` away from them.
    """
    run = RunDir(directory)
    run.open(transfer.config, gan.class_names)
    state = TrainState(gan, transfer.stages(gan), transfer.config)
    for variable in state.optimizers["generator_propagate"].variables:
        variable.assign(variable + moved)
    state.checkpoint.write(str(run.new_checkpoint(1)[0]))
    run.complete_checkpoint(1)
    return str(directory)


def fine_tuning(directory, *arguments, **settings):
    """What fine-tuning from a run has built."""
    return build(*arguments, stages=("fine_tune",), start=directory, **settings)


@pytest.mark.parametrize("variant", RUNS)
def test_fine_tuning_goes_on_from_the_first_stage(variant, tmp_path):
    earlier, first = build(variant)
    for i, variable in enumerate(first.generator.variables):
        if "norm" in variable.path or "embedding" in variable.path:
            value = normal(*variable.shape, seed=50 + i)
            variable.assign(
                np.abs(value) + 0.5 if variable.name == "moving_variance" else value / 2
            )
    z, labels = normal(3, 16), np.array([1, 0, 1])
    expected = first.generator(z, labels)[0]
    directory = save_run(earlier, first, tmp_path / "run", moved=0.5)
    assert np.abs(first.generator(z, labels)[0] - expected).max() > 0.01
    transfer, gan = fine_tuning(directory, variant, seed=2)
    np.testing.assert_allclose(gan.generator(z, labels)[0], expected, atol=2e-4)
    discriminator = values(gan.discriminator)
    for name, value in values(first.discriminator).items():
        np.testing.assert_array_equal(discriminator[name], value, err_msg=name)
    kinds = trained_kinds(transfer, gan)
    assert {"residual", "linear", "block_", "output", "attent"} <= kinds
    assert not kinds & {"scores", "prior"}
    assert ("latent" in kinds) == (variant != "table")
    assert all(layer.spectral_norm for layer in gan.generator.spectral_layers())
    extended = transfer.extended(gan)
    assert extended.class_names == ["x", "y"], "the old classes' weights have changed"
    np.testing.assert_allclose(extended(z, labels), expected, atol=2e-4)
    (stage,) = transfer.stages(gan)
    assert set(penalties(gan, stage)) == {"l2_residual"}


def test_fine_tuning_needs_the_same_classes_and_settings(tmp_path):
    directory = save_run(*build("table"), tmp_path / "run")
    with pytest.raises(InputError, match=r"expected the classes of .*run, x, y, got x, z"):
        fine_tuning(directory, names=("x", "z"))
    with pytest.raises(InputError, match=r"a run with the same settings, it has no .*scores/bias"):
        fine_tuning(directory, score_bias=True)
    with pytest.raises(InputError, match=r"a run with the same settings, it has also .*prior"):
        fine_tuning(directory, method="bsa_adv")
    with pytest.raises(InputError, match=r"checkpoint best, last or one of 1, got '7'"):
        fine_tuning(directory, start_checkpoint="7")
    with pytest.raises(InputError, match=r"^expected a run of cgt-train.*/none"):
        fine_tuning(str(tmp_path / "none"))


def test_fine_tuning_needs_a_first_stage_from_its_source(tmp_path):
    """A run of fine-tuning itself, or of another source, has other convolutions."""
    earlier, first = build("table")
    kernel = first.generator.blocks[1].conv2.kernel
    kernel.assign(kernel + 0.01)
    first.generator.output_norm.gain.assign(first.generator.output_norm.gain + 1)
    directory = save_run(earlier, first, tmp_path / "run")
    with pytest.raises(InputError, match=r"but its block_1/conv2/kernel is not the source's"):
        fine_tuning(directory, "table")


@pytest.mark.parametrize("variant", RUNS)
def test_both_stages_in_one_run_start_as_the_first_alone(variant):
    both = {"stages": ("propagate", "fine_tune"), "propagate_steps": 7}
    transfer, gan = build(variant, **both)
    alone, first = build(variant)
    assert alone.keeps_old_classes and not transfer.keeps_old_classes
    z, labels = normal(3, 16), np.array([1, 0, 1])
    expected = first.generator(z, labels)[0]
    np.testing.assert_allclose(gan.generator(z, labels)[0], expected, atol=2e-4)
    stages = transfer.stages(gan)
    lengths = [(stage.name, stage.steps) for stage in stages]
    assert lengths == [("propagate", 7), ("fine_tune", transfer.config.training.steps)]
    assert trained_names(gan, stages[0]) == trained_names(first, *alone.stages(first))
    later, given = build(variant, stages=("fine_tune",))
    assert trained_names(gan, stages[1]) == trained_names(given, *later.stages(given))
    found = [set(penalties(gan, stage)) for stage in stages]
    assert found == [{"l1_scores", "l2_residual"}, {"l2_residual"}]
    assert transfer.extended(gan).class_names == ["x", "y"]


def test_kernels_that_are_frozen_keep_their_norms():
    transfer, gan = build("hierarchical", stages=("propagate", "fine_tune"), spectral_norm=True)
    for stage, moving in zip(transfer.stages(gan), (False, True), strict=True):
        before = values(gan.generator)
        penalties(gan, stage)
        moved = {n for n, v in values(gan.generator).items() if not np.array_equal(v, before[n])}
        vectors = {n for n in moved if n.endswith("/u")}
        assert any("/norm1/" in n for n in vectors)
        assert any("/norm" not in n for n in vectors) == moving
        assert "block_0/norm1/moving_mean" in moved
        assert all(n.endswith("/u") or "/moving_" in n for n in moved)


# A transfer on top of a transfer.


@pytest.mark.parametrize("variant", RUNS)
def test_a_second_transfer_leaves_all_earlier_classes_bit_identical(variant):
    first, gan = build(variant)
    extended = first.as_source(gan, first.extended(gan))
    assert extended.spec.domain_classes == (6, 2)
    assert extended.spec.d_classes == 2
    second, newer = build(names=("u", "v", "w"), source=extended)
    z, earlier = normal(4, 16), np.array([0, 5, 6, 7])
    before = ops.convert_to_numpy(extended.generator(z, earlier)[0])
    newer.generator(normal(4, 16), np.array([0, 1, 2, 0]), training=True)
    (stage,) = second.stages(newer)
    for variable in trained_variables(newer, stage, "generator"):
        variable.assign(ops.convert_to_numpy(variable) + 0.1)
    both = second.extended(newer)
    assert both.class_names == [*OLD, "x", "y", "u", "v", "w"]
    assert both.spec.domain_classes == (6, 2, 3)
    np.testing.assert_array_equal(both(z, earlier), before)
    expected = newer.generator(z[:3], np.array([0, 1, 2]))[0]
    np.testing.assert_allclose(both(z[:3], np.array([8, 9, 10])), expected, atol=1e-4)
    scores = newer.generator.conditional_norms()[0].scale.scores
    assert scores.kernel.shape == (8, 3), "all earlier classes are pseudo-classes"
