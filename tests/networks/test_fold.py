"""Folding: the extended generator equals its parts, and old classes never change."""

import dataclasses
import functools

import numpy as np
import pytest
from keras import ops

from cgt_tf.layers.pseudo_class_batch_norm import PropagatedOffsets, PseudoClassBatchNorm
from cgt_tf.networks.extended import extended_from, fold_together
from cgt_tf.networks.fold import at_all_levels, copy_statistics, copy_unconditional, fold_norms
from cgt_tf.networks.gan import Gan, create_generator
from cgt_tf.networks.spec import biggan_spec
from cgt_tf.networks.standing import draw_batches, estimate_statistics

VARIANTS = {
    "shared_hierarchical": {"shared_dim": 6, "hierarchical": True},
    "shared": {"shared_dim": 6},
    "table_hierarchical": {"hierarchical": True},
    "table": {},
    "deep": {"architecture": "biggan_deep", "shared_dim": 6},
    "truncation": {"shared_dim": 6, "hierarchical": True, "truncation_grid": (0.5, 0.75, 1.0)},
}
OLD, NEW = ["a", "b", "c"], ["x", "y"]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def randomize(variables, seed=0):
    for i, variable in enumerate(variables):
        value = normal(*variable.shape, seed=seed + i)
        positive = variable.name == "moving_variance"
        variable.assign(np.abs(value) + 0.5 if positive else value / 2)


@functools.cache
def built_source(variant):
    fields = {"dim_z": 16, "g_widths": (8, 8, 8, 4), "g_attention": (16,), **VARIANTS[variant]}
    return create_generator(biggan_spec(32, len(OLD), channels=4, **fields))


def source_generator(variant):
    generator = built_source(variant)
    randomize(generator.variables)
    return generator


def norm_variables(generator):
    norms = [v for norm in generator.conditional_norms() for v in norm.variables]
    embedding = generator.class_embedding
    return norms + (embedding.variables if embedding is not None else [])


@functools.cache
def built_transfer(source):
    shared_dim = 6 if source.spec.deep else 0
    changes = {"num_classes": len(NEW), "shared_dim": shared_dim, "truncation_grid": ()}
    spec = dataclasses.replace(source.spec, **changes)
    classes = {"num_classes": len(NEW), "num_pseudo_classes": len(OLD)}
    offsets = {**classes, "latent_dim": spec.chunk_dim}
    norm = functools.partial(PseudoClassBatchNorm, offsets=offsets, epsilon=spec.bn_eps)
    embedding = PropagatedOffsets(6, name="class_embedding", **classes) if shared_dim else None
    return create_generator(spec, norm=norm, embedding=embedding, spectral_norm=False)


def transferred_generator(source):
    """The source's convolutions under random norms of its own classes and statistics."""
    generator = built_transfer(source)
    copy_unconditional(source, generator)
    randomize(norm_variables(generator), seed=1000)
    randomize([generator.output_norm.moving_mean, generator.output_norm.moving_variance], seed=99)
    return generator


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_domain_equals_the_source(variant):
    source = source_generator(variant)
    extended = fold_together([source], [OLD])
    z, labels = normal(3, 16), np.array([2, 0, 1])
    assert extended.class_names == OLD
    assert extended.spec.num_classes == 3
    np.testing.assert_allclose(extended(z, labels), source(z, labels)[0], atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_two_domains_equal_the_old_and_the_new_generator(variant):
    source = source_generator(variant)
    new = transferred_generator(source)
    extended = fold_together([source, new], [OLD, NEW])
    z = normal(3, 16)
    assert extended.class_names == ["a", "b", "c", "x", "y"]
    assert extended.spec.num_classes == 5
    old_images = source(z, np.array([2, 0, 1]))[0]
    np.testing.assert_allclose(extended(z, np.array([2, 0, 1])), old_images, atol=1e-5)
    new_images = new(z, np.array([1, 0, 1]))[0]
    np.testing.assert_allclose(extended(z, np.array([4, 3, 4])), new_images, atol=1e-5)
    both = extended(z, np.array([2, 3, 1]))
    np.testing.assert_allclose(both[0], old_images[0], atol=1e-5)
    np.testing.assert_allclose(both[1], new_images[1], atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_old_outputs_stay_bit_identical(variant):
    """Whatever happens to the trained variables and statistics of the new generator."""
    source = source_generator(variant)
    new = transferred_generator(source)
    extended = fold_together([source, new], [OLD, NEW])
    z, old_labels, new_labels = normal(3, 16), np.array([2, 0, 1]), np.array([4, 3, 4])
    old, before = (ops.convert_to_numpy(extended(z, y)) for y in (old_labels, new_labels))
    randomize(norm_variables(new), seed=2000)
    randomize([new.output_norm.moving_mean, new.output_norm.moving_variance], seed=3000)
    extended.refresh()
    np.testing.assert_array_equal(extended(z, old_labels), old)
    assert np.abs(extended(z, new_labels) - before).max() > 1e-2
    new_images = new(z, new_labels - 3)[0]
    np.testing.assert_allclose(extended(z, new_labels), new_images, atol=1e-5)


@pytest.mark.parametrize("variant", ["shared_hierarchical", "table"])
def test_mixtures_across_domains_are_finite_and_in_between(variant):
    source = source_generator(variant)
    extended = fold_together([source, transferred_generator(source)], [OLD, NEW])
    z = normal(1, 16)
    steps = np.linspace(0, 1, 5, dtype=np.float32)
    weights = np.zeros((5, 5), np.float32)
    weights[:, 1], weights[:, 3] = 1 - steps, steps
    images = ops.convert_to_numpy(extended(np.repeat(z, 5, axis=0), weights))
    assert np.isfinite(images).all() and np.abs(images).max() <= 1
    np.testing.assert_allclose(images[:1], extended(z, np.array([1])), atol=1e-5)
    np.testing.assert_allclose(images[4:], extended(z, np.array([3])), atol=1e-5)
    gaps = np.abs(np.diff(images, axis=0)).max(axis=(1, 2, 3))
    assert (gaps > 1e-4).all(), "each step towards the new class changes the image"


def test_folding_takes_copies():
    """Later changes of the parts show only after `refresh`."""
    source = source_generator("table")
    extended = fold_together([source], [OLD])
    z, labels = normal(2, 16), np.array([0, 1])
    before = ops.convert_to_numpy(extended(z, labels))
    randomize(source.variables, seed=500)
    np.testing.assert_array_equal(extended(z, labels), before)
    extended.refresh()
    np.testing.assert_allclose(extended(z, labels), source(z, labels)[0], atol=1e-5)


def test_copy_between_spectral_generators_keeps_raw_kernels_and_power_vectors():
    source = source_generator("shared")
    target = create_generator(source.spec)
    copy_unconditional(source, target)
    for old, new in zip(source.spectral_layers(), target.spectral_layers(), strict=True):
        np.testing.assert_array_equal(new.kernel, old.kernel)
        np.testing.assert_array_equal(new.u, old.u)
        np.testing.assert_array_equal(
            new.bias if new.use_bias else 0, old.bias if old.use_bias else 0
        )
    np.testing.assert_array_equal(target.attentions["1"].gain, source.attentions["1"].gain)
    for name in ("gain", "bias", "moving_mean", "moving_variance"):
        actual, expected = (getattr(g.output_norm, name) for g in (target, source))
        np.testing.assert_array_equal(actual, expected)


def test_fold_norms_are_in_network_order():
    source = source_generator("shared_hierarchical")
    states = fold_norms(source)
    assert [s.offsets.scale.shape for s in states] == [(3, c) for c in (8, 8, 8, 8, 8, 4)]
    assert [s.offsets.scale_latent.shape for s in states] == [(4, c) for c in (8, 8, 8, 8, 8, 4)]
    for state, norm in zip(states, source.conditional_norms(), strict=True):
        np.testing.assert_array_equal(state.moving_mean[0, 0], norm.moving_mean)
        np.testing.assert_array_equal(state.moving_variance[0, 0], norm.moving_variance)


def test_old_classes_keep_their_statistics_by_truncation():
    source = source_generator("truncation")
    extended = fold_together([source, transferred_generator(source)], [OLD, NEW])
    z = normal(2, 16)
    for truncation in (0.5, 0.6, 0.75, 1.0):
        expected = source(z, np.array([2, 0]), truncation=truncation)[0]
        actual = extended(z, np.array([2, 0]), truncation=truncation)
        np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_new_classes_follow_the_statistics_of_the_source_in_truncation():
    """Where they start from the source's own, they have the source's at every truncation."""
    source = source_generator("truncation")
    new = transferred_generator(source)
    copy_statistics(source, new, 1.0)
    extended = fold_together([source, new], [OLD, NEW])
    z = normal(2, 16)
    for truncation in (0.5, 0.6, 0.75, 1.0):
        actual = extended(z, np.array([4, 3]), truncation=truncation)
        copy_statistics(source, new, truncation)
        np.testing.assert_allclose(actual, new(z, np.array([1, 0]))[0], atol=1e-4)


def test_carried_statistics_are_close_to_estimated_ones():
    """Much closer than one row for all, where classes differ in their scales and shifts."""
    generator = source_generator("shared_hierarchical")
    spec = generator.spec

    def estimated(classes, truncation):
        draws = draw_batches(spec, 4, 200, truncation, seed=0)
        return estimate_statistics(generator, ((z, classes[y % len(classes)]) for z, y in draws))

    old, new = np.array([0, 1]), np.array([2])
    rows = {(len(c), t): estimated(c, t) for c in (old, new) for t in (0.4, 1.0)}
    distances = []
    for i in range(0, len(rows[1, 1.0]), 2):
        source = [np.stack([rows[2, t][i + j] for t in (0.4, 1.0)])[None] for j in (0, 1)]
        own, wanted = ([rows[1, t][i + j] for j in (0, 1)] for t in (1.0, 0.4))
        carried = at_all_levels([x[None, None] for x in own], source, spec.bn_eps)
        for mean, variance in (own, [x[0, 0] for x in carried]):
            spread = (mean - wanted[0]) ** 2 / wanted[1] + np.log(variance / wanted[1]) ** 2
            distances.append(spread.mean())
    one_row, moved = np.reshape(distances, (-1, 2)).T
    assert moved.sum() < one_row.sum() / 4
    np.testing.assert_allclose(moved[0], 0, atol=1e-6)


def test_statistics_are_copied_at_a_truncation():
    source = source_generator("truncation")
    new = transferred_generator(source)
    copy_statistics(source, new, 0.625)
    for old, copy in zip(source.conditional_norms(), new.conditional_norms(), strict=True):
        rows = ops.convert_to_numpy(old.moving_mean)
        np.testing.assert_allclose(copy.moving_mean, (rows[0] + rows[1]) / 2, rtol=1e-5, atol=1e-6)


def test_an_extended_generator_is_extended_again():
    """Three domains: two extensions, one after the other, equal their parts."""
    source = source_generator("shared_hierarchical")
    first = fold_together([source, transferred_generator(source)], [OLD, NEW])
    z = normal(2, 16)
    before = ops.convert_to_numpy(first(z, np.array([1, 4])))
    third = transferred_generator(source)
    randomize(norm_variables(third), seed=4000)
    again = fold_together([first.generator, third], [first.class_names, ["u", "v"]])
    assert again.spec.domain_classes == (3, 2, 2)
    np.testing.assert_array_equal(again(z, np.array([1, 4])), before)
    expected = third(z, np.array([0, 1]))[0]
    np.testing.assert_allclose(again(z, np.array([5, 6])), expected, atol=1e-5)


def test_a_folded_gan_is_extended_as_it_is():
    source = source_generator("shared_hierarchical")
    folded = extended_from(Gan(source.spec, source, None, OLD))
    assert folded.spec.domain_classes == (3,) and folded.generator is not source
    again = extended_from(folded.gan())
    assert again.generator is folded.generator and again.class_names == OLD
    before = [ops.convert_to_numpy(v) for v in again.generator.variables]
    again.refresh()
    for variable, value in zip(again.generator.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
