"""TransferGAN: what is copied, how classes start, that all is trained and the source untouched."""

import functools

import numpy as np
import pytest
from keras import ops
from tiny_sources import FORMS, OLD, TARGET, normal, tiny_source, trained_variables, values

from cgt_tf.data.image_set import ImageSet
from cgt_tf.errors import InputError
from cgt_tf.methods.base import DataSpec
from cgt_tf.methods.discriminant import nearest_classes
from cgt_tf.methods.registry import create_config
from cgt_tf.methods.transfergan import TransferGAN
from cgt_tf.methods.whole_generator import initial_rows
from cgt_tf.networks.fold import statistics_at
from cgt_tf.networks.weights import variable_name

CLASS_TABLES = ("embeddings", "scale_table", "shift_table")


@pytest.fixture(params=FORMS)
def source(request):
    return tiny_source(request.param)


def method_of(settings=None, **groups):
    return TransferGAN(create_config("transfergan", settings, **groups))


@functools.cache
def transferred(form):
    """A method, what it built, and the initial values by variable."""
    method = method_of(seed=3)
    gan = method.build((tiny_source(form),), TARGET)
    variables = gan.generator.variables + gan.discriminator.variables
    return method, gan, [(v, ops.convert_to_numpy(v)) for v in variables]


def build(source):
    """The cached result, as it was built."""
    method, gan, initial = transferred(next(f for f in FORMS if tiny_source(f) is source))
    for variable, value in initial:
        variable.assign(value)
    return method, gan


def kind(name):
    return name.rpartition("/")[2]


def test_everything_but_classes_and_statistics_is_copied_raw(source):
    _, gan = build(source)
    old, new = values(source.generator), values(gan.generator)
    assert old.keys() == new.keys()
    for name, value in new.items():
        if kind(name) in CLASS_TABLES or name.startswith("class_projection"):
            assert value.shape[0] == 3, name
        elif not kind(name).startswith("moving"):
            expected = old[name][: len(value)] if kind(name).endswith("latent") else old[name]
            np.testing.assert_array_equal(value, expected, err_msg=name)
    old, new = values(source.discriminator), values(gan.discriminator)
    for name in new.keys() - {"class_projection/embeddings", "class_projection/u"}:
        np.testing.assert_array_equal(new[name], old[name], err_msg=name)


def test_an_old_class_put_in_gives_the_sources_images(source):
    """The layers are the source's: with old rows in the tables, so are the outputs."""
    _, gan = build(source)
    chosen = [4, 0, 2]
    old = values(source.generator)
    for variable in gan.generator.variables:
        if variable.name in CLASS_TABLES:
            variable.assign(old[variable_name(variable)][chosen])
    z = normal(3, 8)
    expected = source.generator(z, np.array(chosen))[0]
    np.testing.assert_allclose(gan.generator(z, np.array([0, 1, 2]))[0], expected, atol=1e-5)


def test_statistics_start_from_those_at_the_sources_truncation():
    source = tiny_source("truncation_grid")
    gan = method_of(source_truncation=0.75).build((source,), TARGET)
    norms = (gan.conditional_norms() for gan in (source.generator, gan.generator))
    for old, new in zip(*norms, strict=True):
        mean, variance = statistics_at(source.spec, old, 0.75)
        np.testing.assert_array_equal(new.moving_mean, mean)
        np.testing.assert_array_equal(new.moving_variance, variance)


def test_all_variables_are_trained(source):
    transfer, gan = build(source)
    (stage,) = transfer.stages(gan)
    assert stage.name == "fine_tune"
    assert [phase.name for phase in stage.phases] == ["discriminator", "generator"]
    assert list(gan.named) == ["generator", "discriminator"]
    for name, network in gan.named.items():
        assert trained_variables(gan, stage, name) == network.trainable_variables


def test_use_leaves_the_source_as_it_is(source):
    before = [values(source.generator), values(source.discriminator)]
    _, gan = build(source)
    labels = np.array([0, 1])
    images, _ = gan.generator(normal(2, 8), labels, training=True)
    gan.discriminator(images, labels, training=True)
    for network in (gan.generator, gan.discriminator):
        for variable in network.variables:
            variable.assign(variable + 1)
    for network, old in zip((source.generator, source.discriminator), before, strict=True):
        for name, value in values(network).items():
            np.testing.assert_array_equal(value, old[name], err_msg=name)


def test_extended_is_the_trained_generator(source):
    transfer, gan = build(source)
    for variable in gan.generator.trainable_variables:
        variable.assign(variable + 0.05)
    z, labels = normal(3, 8), np.array([2, 0, 1])
    expected = gan.generator(z, labels)[0]
    extended = transfer.extended(gan)
    assert extended.class_names == ["x", "y", "z"]
    np.testing.assert_allclose(extended(z, labels), expected, atol=1e-5)
    again = transfer.as_source(gan, extended)
    assert again.class_names == ["x", "y", "z"]
    assert again.discriminator is gan.discriminator
    np.testing.assert_allclose(again.generator(z, labels)[0], expected, atol=1e-5)
    # What is built anew from the spec of such a source holds its weights.
    second = method_of().build((again,), DataSpec(("p",), 8))
    assert values(second.generator).keys() == values(again.generator).keys()


# How the classes start.


def test_mean_old_is_the_old_mean_with_noise():
    table = normal(7, 2000, seed=5)
    rng = np.random.default_rng(0)
    rows = initial_rows(table, 4, "mean_old", 0.1, rng)
    noise = rows - table.mean(axis=0)
    # 8000 draws: within 4 standard errors of 0, and 5 % of the spread 0.1.
    assert abs(noise.mean()) < 4 * 0.1 / np.sqrt(noise.size)
    assert 0.095 < noise.std() < 0.105
    assert abs(np.corrcoef(noise[0], noise[1])[0, 1]) < 0.1
    exact = initial_rows(table, 4, "mean_old", 0.0, rng)
    np.testing.assert_allclose(exact, np.tile(table.mean(axis=0), (4, 1)), rtol=1e-6)


def test_normal_has_the_old_spread_around_zero():
    table = 0.162 * normal(50, 2000, seed=5) + 1.0
    rows = initial_rows(table, 4, "normal", 0.1, np.random.default_rng(0))
    assert 0.95 * table.std() < rows.std() < 1.05 * table.std()
    assert abs(rows.mean()) < 4 * table.std() / np.sqrt(rows.size)


def test_classes_start_at_the_old_mean_and_by_seed():
    for form, kinds in (("shared_hierarchical", 1), ("table", 4), ("folded_deep", 17)):
        source = tiny_source(form)
        old = values(source.generator)
        new = values(build(source)[1].generator)
        tables = [name for name in new if kind(name) in CLASS_TABLES]
        assert len(tables) == kinds, form
        for name in tables:
            noise = new[name] - old[name].mean(axis=0)
            assert 0.03 < noise.std() < 0.2, name
    source = tiny_source("table")
    first = values(build(source)[1].generator)["block_0/norm1/scale_table"]
    for seed in (3, 4):
        other = method_of(seed=seed).build((source,), TARGET).generator
        same = np.array_equal(values(other)["block_0/norm1/scale_table"], first)
        assert same == (seed == 3)


def test_classes_may_start_at_the_mean_of_their_nearest():
    source = tiny_source("table")
    settings = {"class_init": "nearest", "nearest_classes": 2, "class_init_std": 0.0}
    transfer = method_of(settings)
    gan = transfer.build((source,), TARGET)
    convolution = "block_0/conv1/kernel"
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    data = ImageSet(images, np.arange(6, dtype=np.int32) % 3, TARGET.class_names, "random")
    transfer.prepare(gan, data)
    old, new = values(source.generator), values(gan.generator)
    for name in ("block_0/norm1/scale_table", "block_0/norm2/shift_table"):
        expected = [old[name][rows].mean(axis=0) for rows in nearest_classes(source, data, 2)]
        np.testing.assert_allclose(new[name], expected, rtol=1e-5, atol=1e-6)
        assert np.abs(new[name] - old[name].mean(axis=0)).max() > 0.05
    np.testing.assert_array_equal(new[convolution], old[convolution])


def test_old_classes_are_refused():
    with pytest.raises(InputError, match="expected new classes, got classes of the source: old1"):
        method_of().build((tiny_source("table"),), DataSpec((OLD[1],), 8))


def test_the_fresh_projection_table_depends_on_the_seed():
    tables = [
        ops.convert_to_numpy(
            method_of(seed=seed)
            .build((tiny_source("table"),), TARGET)
            .discriminator.class_projection.kernel
        )
        for seed in (0, 1)
    ]
    assert np.abs(tables[0] - tables[1]).max() > 1e-3
