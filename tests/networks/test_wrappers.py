"""What a label may meet before or inside a generator: vectors, miners, kernels of its own."""

import dataclasses
import functools

import numpy as np
import pytest
from keras import ops

from cgt_tf.errors import InputError
from cgt_tf.formats.native import read_model, save_model
from cgt_tf.layers.class_kernels import ClassKernelConv2D
from cgt_tf.layers.conditional_batch_norm import Condition
from cgt_tf.layers.resample import upsample_nearest
from cgt_tf.networks.conditioning import ClassInput
from cgt_tf.networks.extended import ExtendedGenerator, extended_from
from cgt_tf.networks.fold import copy_all
from cgt_tf.networks.gan import Gan, create_gan, create_generator
from cgt_tf.networks.spec import GanSpec

FORMS = {
    "shared": {"shared_dim": 6, "hierarchical": True},
    "table": {},
    "deep": {"architecture": "biggan_deep", "shared_dim": 6},
}
LABELS = np.array([1, 3, 0])


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


Z = normal(3, 8)


@functools.cache
def plain(form):
    fields = {"resolution": 8, "num_classes": 4, "dim_z": 8, "g_widths": (8, 8)}
    fields |= {"d_widths": (4, 4), "d_halvings": 1}
    gan = create_gan(GanSpec(**fields, **FORMS[form]), list("abcd"))
    for i, variable in enumerate(gan.generator.variables):
        value = normal(*variable.shape, seed=i) / 2
        positive = variable.name == "moving_variance"
        variable.assign(np.abs(value) + 0.5 if positive else value)
    return gan


def images(generator, labels, z=Z, **options):
    return ops.convert_to_numpy(generator(z, labels, **options)[0])


@pytest.mark.parametrize("form", ["shared", "deep"])
def test_a_class_may_be_a_vector(form):
    generator = plain(form).generator
    vectors = generator.class_embedding(ops.one_hot(LABELS, 4))
    expected = images(generator, LABELS)
    np.testing.assert_allclose(
        images(generator, ClassInput(embedding=vectors)), expected, atol=1e-6
    )
    other = images(generator, ClassInput(embedding=vectors + 1))
    assert np.abs(other - expected).max() > 0.01


def test_generators_without_embedding_take_no_vectors():
    with pytest.raises(InputError, match="embeds no class vectors"):
        plain("table").generator(Z, ClassInput(embedding=normal(3, 6)))


def test_power_vectors_may_rest_in_training():
    generator = create_generator(plain("shared").spec)
    copy_all(plain("shared").generator, generator)
    weights = {v.path: ops.convert_to_numpy(v) for v in generator.variables if v.name == "u"}
    outside = {path for path in weights if "/norm" not in path}
    assert len(outside) == 5 and len(outside) < len(weights)
    generator(Z, LABELS, training=True, power_iteration=False)
    for v in generator.variables:
        if v.path in weights:
            assert np.array_equal(v, weights[v.path]) == (v.path in outside), v.path


# Miners.


def mined(form, labels=2):
    """The plain generator behind a miner of random maps."""
    source = plain(form)
    spec = dataclasses.replace(source.spec, wrapper="mined", num_classes=labels, table_classes=4)
    generator = create_generator(spec, initializer="zeros")
    values = {v.path.partition("/")[2]: v for v in source.generator.variables}
    for variable in generator.variables:
        name = variable.path.partition("/")[2]
        shape = variable.shape
        variable.assign(values[name] if name in values else normal(*shape, seed=len(shape)))
    return generator


@pytest.mark.parametrize("form", FORMS)
def test_a_mined_label_is_an_affine_map_of_z(form):
    generator, labels = mined(form), np.array([1, 0, 1])
    miner = {v.name: ops.convert_to_numpy(v) for v in generator.miner.variables}
    z = np.stack([z @ miner["latent_kernel"][y] for z, y in zip(Z, labels, strict=True)])
    z = z + miner["latent_bias"][labels]
    vectors = np.stack([z @ miner["class_kernel"][y] for z, y in zip(Z, labels, strict=True)])
    vectors = vectors + miner["class_bias"][labels]
    given = ClassInput(vectors) if form == "table" else ClassInput(embedding=vectors)
    expected = images(plain(form).generator, given, z)
    np.testing.assert_allclose(images(generator, labels), expected, atol=1e-4)


# Modulated kernels.


@pytest.mark.parametrize("resample", [None, "up"])
def test_each_sample_is_convolved_with_its_class(resample):
    layer = ClassKernelConv2D(3, 5, resample=resample)
    x, labels = normal(2, 4, 6, 4), [2, 0]
    layer.build(x.shape)
    for i, variable in enumerate(layer.variables):
        variable.assign(normal(*variable.shape, seed=i))
    found = layer(x, Condition(np.eye(3, dtype=np.float32)[labels]))
    inputs = upsample_nearest(x) if resample else x
    for i, label in enumerate(labels):
        expected = ops.conv(inputs[i : i + 1], layer.kernel[label], padding="same")[0]
        np.testing.assert_allclose(found[i], expected + layer.bias[label], rtol=1e-4, atol=1e-4)
    other = Condition(np.eye(3, dtype=np.float32)[[1, 1]], kernels=np.eye(3)[labels])
    np.testing.assert_array_equal(layer(x, other), found)
    again = ClassKernelConv2D.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def modulated(form):
    """The plain generator folded, with the kernels of its blocks once for each class."""
    folded = extended_from(plain(form)).generator
    spec = dataclasses.replace(folded.spec, wrapper="modulated")
    generator = create_generator(spec, initializer="zeros")
    values = {v.path.partition("/")[2]: ops.convert_to_numpy(v) for v in folded.variables}
    for variable in generator.variables:
        value = values[variable.path.partition("/")[2]]
        if value.shape != variable.shape:
            value = np.broadcast_to(value, variable.shape)
        variable.assign(value)
    return generator


@pytest.mark.parametrize("form", FORMS)
def test_equal_kernels_are_the_plain_generator(form):
    generator = modulated(form)
    expected = images(plain(form).generator, LABELS)
    np.testing.assert_allclose(images(generator, LABELS), expected, atol=1e-4)
    kernels = [v for v in generator.variables if len(v.shape) == 5]
    assert len(kernels) == (4 if form == "deep" else 2)
    changed = ops.convert_to_numpy(kernels[0]).copy()
    changed[3] *= 2
    kernels[0].assign(changed)
    found = images(generator, LABELS)
    np.testing.assert_allclose(found[[0, 2]], expected[[0, 2]], atol=1e-4)
    assert np.abs(found[1] - expected[1]).max() > 1e-3


# All of them.


@pytest.mark.parametrize("make", [mined, modulated])
@pytest.mark.parametrize("form", FORMS)
def test_wrappers_are_saved_and_read(make, form, tmp_path):
    generator = make(form)
    names = [f"n{i}" for i in range(generator.spec.num_classes)]
    save_model(Gan(generator.spec, generator, None, names), tmp_path / "model", {})
    again = read_model(tmp_path / "model")
    assert again.spec == generator.spec and again.spec.wrapper != "plain"
    labels = np.array([1, 0, 1])
    np.testing.assert_array_equal(images(again.generator, labels), images(generator, labels))
    extended = ExtendedGenerator(again.generator, names)
    np.testing.assert_array_equal(extended(Z, labels), images(generator, labels))
    with pytest.raises(InputError, match=f"this one is {again.spec.wrapper}: give labels"):
        extended(Z, np.full((3, len(names)), 0.5, np.float32))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"wrapper": "wrapped"},
            "wrapper must be one of plain, mined, selected, modulated, got 'wrapped'",
        ),
        ({"table_classes": 3}, "table_classes needs another wrapper, got 'plain'"),
        ({"members": 2}, "members needs the wrapper mined or selected, got 'plain'"),
        ({"wrapper": "mined", "members": 2}, "expected a selector of classifier, frequency for"),
        ({"wrapper": "mined", "selector": "frequency"}, "got 'frequency' for 0"),
        (
            {"wrapper": "selected", "members": 2, "selector": "frequency", "member_classes": (4,)},
            r"expected member_classes for each member .*, got \(4,\)",
        ),
        ({"modulation_rank": 2}, "expected modulation_rank 0, or a rank .* got 2 of 'plain'"),
        (
            {"wrapper": "modulated", "modulation_rank": -1},
            "modulation_rank must be a finite number of at least 0",
        ),
    ],
)
def test_what_a_spec_refuses(fields, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(plain("table").spec, **fields)
