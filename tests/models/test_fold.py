"""Folding: the extended generator equals its parts, and old classes never change."""

import dataclasses
import functools

import numpy as np
import pytest
from keras import ops

from cgt_tf.layers.pseudo_class_batch_norm import PseudoClassBatchNorm
from cgt_tf.models.biggan import Generator
from cgt_tf.models.fold import ExtendedGenerator, copy_unconditional, fold_norms
from cgt_tf.models.gan import build_networks
from cgt_tf.models.spec import biggan_spec

VARIANTS = {
    "shared_hierarchical": {"shared_dim": 6, "hierarchical": True},
    "shared": {"shared_dim": 6},
    "table_hierarchical": {"hierarchical": True},
    "table": {},
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
    generator = Generator(biggan_spec(32, len(OLD), channels=4, **fields))
    build_networks(generator)
    return generator


def source_generator(variant):
    generator = built_source(variant)
    randomize(generator.variables)
    return generator


def norm_variables(generator):
    return [v for norm in generator.conditional_norms() for v in norm.variables]


@functools.cache
def built_transfer(source):
    spec = dataclasses.replace(source.spec, num_classes=len(NEW), shared_dim=0)
    norm = functools.partial(
        PseudoClassBatchNorm,
        num_classes=len(NEW),
        num_pseudo_classes=len(OLD),
        latent_dim=spec.chunk_dim,
        epsilon=spec.bn_eps,
    )
    generator = Generator(spec, norm=norm, spectral_norm=False)
    build_networks(generator)
    return generator


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
    extended = ExtendedGenerator([source], [OLD])
    z, labels = normal(3, 16), np.array([2, 0, 1])
    assert extended.class_names == OLD
    assert extended.spec.num_classes == 3
    np.testing.assert_allclose(extended(z, labels), source(z, labels)[0], atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_two_domains_equal_the_old_and_the_new_generator(variant):
    source = source_generator(variant)
    new = transferred_generator(source)
    extended = ExtendedGenerator([source, new], [OLD, NEW])
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
    extended = ExtendedGenerator([source, new], [OLD, NEW])
    z, old_labels, new_labels = normal(3, 16), np.array([2, 0, 1]), np.array([4, 3, 4])
    old, before = (ops.convert_to_numpy(extended(z, y)) for y in (old_labels, new_labels))
    randomize(norm_variables(new), seed=2000)
    randomize([new.output_norm.moving_mean, new.output_norm.moving_variance], seed=3000)
    extended.refresh([source, new])
    np.testing.assert_array_equal(extended(z, old_labels), old)
    assert np.abs(extended(z, new_labels) - before).max() > 1e-2
    new_images = new(z, new_labels - 3)[0]
    np.testing.assert_allclose(extended(z, new_labels), new_images, atol=1e-5)


@pytest.mark.parametrize("variant", ["shared_hierarchical", "table"])
def test_mixtures_across_domains_are_finite_and_in_between(variant):
    source = source_generator(variant)
    extended = ExtendedGenerator([source, transferred_generator(source)], [OLD, NEW])
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
    extended = ExtendedGenerator([source], [OLD])
    z, labels = normal(2, 16), np.array([0, 1])
    before = ops.convert_to_numpy(extended(z, labels))
    randomize(source.variables, seed=500)
    np.testing.assert_array_equal(extended(z, labels), before)
    extended.refresh([source])
    np.testing.assert_allclose(extended(z, labels), source(z, labels)[0], atol=1e-5)


def test_copy_between_spectral_generators_keeps_raw_kernels_and_power_vectors():
    source = source_generator("shared")
    target = Generator(source.spec)
    build_networks(target)
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
        np.testing.assert_array_equal(state.moving_mean, norm.moving_mean)
        np.testing.assert_array_equal(state.moving_variance, norm.moving_variance)
