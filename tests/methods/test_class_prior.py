"""The class prior: its coordinates, where it starts, what is trained, penalties, export."""

import re
from pathlib import Path

import numpy as np
import pytest
from keras import ops
from tiny_sources import (
    OLD,
    TARGET,
    normal,
    penalties,
    tiny_source,
    trained_variables,
    values,
)

from cgt_tf.data.image_set import ImageSet
from cgt_tf.errors import InputError
from cgt_tf.methods import discriminant
from cgt_tf.methods.base import DataSpec
from cgt_tf.methods.propagation import old_offsets, parts_of, score_matrices
from cgt_tf.methods.registry import config_from_dict, create_config, create_method, validate
from cgt_tf.methods.whitened_prior import create_basis
from cgt_tf.networks.gan import create_gan
from cgt_tf.networks.spec import GanSpec
from cgt_tf.networks.weights import variable_name

FORMS = ("shared_hierarchical", "table", "deep")
COORDINATES = ({}, {"joint": False}, {"whitened": False}, {"joint": False, "whitened": False})
# Forms and kinds of the default run, which between them meet each; the others are slow.
QUICK = (("table", {}), ("deep", {}), ("shared_hierarchical", COORDINATES[-1]))


def cases(pairs):
    slow = pytest.mark.slow
    return [p if p in QUICK else pytest.param(*p, marks=slow) for p in pairs]


each_form = pytest.mark.parametrize(
    "form", ["table", *(pytest.param(f, marks=pytest.mark.slow) for f in FORMS if f != "table")]
)
each_kind = pytest.mark.parametrize(
    "form, kind", cases([(f, k) for f in FORMS for k in COORDINATES]), ids=str
)
Z, LABELS = normal(3, 8), np.array([2, 0, 1])
CONFIG = Path(__file__).parents[2] / "configs/methods/class_prior.flags"


def images(names=TARGET.class_names):
    count = len(names)
    pixels = np.random.default_rng(0).integers(0, 256, (4 * count, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(4 * count, dtype=np.int32) % count
    return ImageSet(pixels, labels, tuple(names), "random")


@pytest.fixture(autouse=True)
def known_similarities(monkeypatch):
    """The same every time, and soft, so that mixtures are mixtures."""
    rows = np.array([[0.5, 0.5, 0, 0, 0], [0.1, 0.2, 0.3, 0.2, 0.2], [0, 0, 0, 1, 0]])
    monkeypatch.setattr(
        discriminant,
        "log_similarities",
        lambda source, images, temperature=1.0: np.log(rows + 1e-300),
    )
    return rows


def build(form="table", target=TARGET, source=None, seed=1, **settings):
    config = create_config("class_prior", settings, seed=seed)
    validate(config)
    method = create_method(config)
    networks = method.build((source or tiny_source(form),), target)
    method.prepare(networks, images(target.class_names))
    return method, networks


def tables(form):
    return [table.astype(np.float64) for table, _ in old_offsets(tiny_source(form))]


def offsets(networks):
    return [ops.convert_to_numpy(part.table()) for part in parts_of(networks.generator)]


# Coordinates.


@pytest.mark.parametrize("shape", [(5, 12), (9, 4)])
def test_whitened_coordinates_are_uncorrelated_and_of_unit_variance(shape):
    table = 3 + normal(*shape)
    rank = min(shape[0] - 1, shape[1])
    basis = create_basis(table, rank)
    np.testing.assert_allclose(basis.mean + basis.coordinates @ basis.rows, table, atol=1e-5)
    covariance = basis.coordinates.T @ basis.coordinates / len(table)
    np.testing.assert_allclose(covariance, np.eye(rank), atol=1e-9)
    np.testing.assert_allclose(basis.coordinates.mean(axis=0), 0, atol=1e-9)
    gram = basis.rows @ basis.rows.T
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-9)


def test_directions_that_no_class_has_are_left_out():
    table = np.outer(np.arange(6.0), np.ones(4))
    basis = create_basis(table, 4)
    np.testing.assert_allclose(basis.coordinates[:, 1:], 0)
    np.testing.assert_allclose(np.mean(basis.coordinates[:, 0] ** 2), 1)


def test_plain_coordinates_are_weights_of_the_old_classes():
    table = normal(5, 7)
    basis = create_basis(table, 5, whitened=False)
    np.testing.assert_allclose(basis.coordinates, np.sqrt(5) * np.eye(5))
    np.testing.assert_allclose(
        basis.coordinates @ basis.rows, table - table.mean(axis=0), atol=1e-6
    )


@each_form
@pytest.mark.parametrize("joint", [True, False])
def test_coordinates_are_one_for_all_layers_or_for_each(form, joint):
    _, networks = build(form, joint=joint)
    parts = parts_of(networks.generator)
    assert len(score_matrices(parts)) == (1 if joint else len(parts))


def test_a_folded_sources_offsets_have_as_many_directions_as_its_classes():
    """No shared embedding bounds them: its classes were learnt at different times."""
    _, networks = build(
        "folded_deep", class_table="random", start="mean", source=tiny_source("folded_deep")
    )
    (matrix,) = score_matrices(parts_of(networks.generator))
    assert matrix.kernel.shape == (9, 3)


# The start.


@each_kind
def test_a_class_like_one_old_class_alone_starts_as_that_class(form, kind):
    _, networks = build(form, **kind)
    made = networks.generator(Z, np.array([2, 2, 2]))[0]
    expected = tiny_source(form).generator(Z, np.array([3, 3, 3]))[0]
    np.testing.assert_allclose(made, expected, atol=2e-5)


@each_kind
def test_mixtures_of_deviations_are_not_shrunk(form, kind, known_similarities):
    q = known_similarities
    weights = q / np.linalg.norm(q, axis=1, keepdims=True)
    _, networks = build(form, **kind)
    for table, found in zip(tables(form), offsets(networks), strict=True):
        mean = table.mean(axis=0)
        np.testing.assert_allclose(found, mean + weights @ (table - mean), atol=1e-5)


@each_kind
def test_the_mean_start_is_that_of_all_old_classes(form, kind):
    _, networks = build(form, start="mean", **kind)
    for table, found in zip(tables(form), offsets(networks), strict=True):
        np.testing.assert_allclose(found, np.tile(table.mean(axis=0), (3, 1)), atol=1e-6)


@each_kind
def test_the_random_start_is_drawn_from_the_prior_by_the_seed(form, kind):
    first, again, other = (
        offsets(build(form, start="random", seed=seed, **kind)[1]) for seed in (1, 1, 2)
    )
    for x, y, z in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(x, y)
        assert np.abs(x - z).max() > 1e-3
    many = DataSpec(tuple(f"new{i}" for i in range(3000)), 8)
    method = create_method(create_config("class_prior", {"start": "random", **kind}))
    networks = method.build((tiny_source(form),), many)
    for table, found in zip(tables(form), offsets(networks), strict=True):
        expected = np.var(table, axis=0).sum()
        assert np.var(found, axis=0).sum() == pytest.approx(expected, rel=0.2)


def test_the_temperature_reaches_the_rule(monkeypatch, known_similarities):
    given = []

    def rule(source, images, temperature):
        given.append(temperature)
        return np.log(known_similarities + 1e-300)

    monkeypatch.setattr(discriminant, "log_similarities", rule)
    build(temperature=3.0)
    assert given == [3.0]


def test_the_discriminators_classes_start_at_the_same_mixtures(known_similarities):
    source = tiny_source("table").discriminator
    _, networks = build()
    expected = known_similarities @ ops.convert_to_numpy(source.class_projection.table())
    layer = networks.discriminator.class_projection
    np.testing.assert_allclose(layer.kernel, expected, atol=1e-6)
    # Its norm is known at once.
    largest = np.linalg.norm(ops.convert_to_numpy(layer.table()), 2)
    assert largest == pytest.approx(1, rel=1e-3)
    old, new = values(source), values(networks.discriminator)
    for name in new.keys() - {"class_projection/embeddings", "class_projection/u"}:
        np.testing.assert_array_equal(new[name], old[name], err_msg=name)
    _, networks = build(class_table="random")
    kernel = ops.convert_to_numpy(networks.discriminator.class_projection.kernel)
    np.testing.assert_allclose(kernel @ kernel.T, np.eye(3), atol=1e-5)


def test_no_similarities_are_asked_for_without_need(monkeypatch):
    def rule(*arguments):
        raise AssertionError("asked for similarities")

    monkeypatch.setattr(discriminant, "log_similarities", rule)
    build(start="mean", class_table="random")


# Common shift and residuals.


@each_form
def test_residuals_add_up_to_nothing(form):
    _, networks = build(form)
    before = offsets(networks)
    for i, part in enumerate(parts_of(networks.generator)):
        part.residual.assign(1 + normal(*part.residual.shape, seed=i))
    for old, new in zip(before, offsets(networks), strict=True):
        assert np.abs(new - old).max() > 0.5
        np.testing.assert_allclose((new - old).sum(axis=0), 0, atol=1e-5)


def test_the_common_shift_moves_all_new_classes_alike():
    _, networks = build()
    before = offsets(networks)
    for part in parts_of(networks.generator):
        part.prior.bias.assign(part.prior.bias + 0.5)
    for old, new in zip(before, offsets(networks), strict=True):
        np.testing.assert_allclose(new, old + 0.5, atol=1e-6)


# What is trained.

KINDS = {
    "": {"scores", "bias", "residual"},
    "common_shift": {"scores", "residual"},
    "residual": {"scores", "bias"},
    "common_shift,residual": {"scores"},
}


@each_form
@pytest.mark.parametrize("off", KINDS)
def test_trained_variables(form, off):
    method, networks = build(form, **dict.fromkeys(filter(None, off.split(",")), False))
    (stage,) = method.stages(networks)
    found = trained_variables(networks, stage, "generator")
    names = [variable_name(v) for v in found]
    assert len(names) == len(set(names))
    kinds = {n.split("/")[-2 if "scores" in n or "latent" in n else -1] for n in names}
    assert kinds == KINDS[off] | ({"latent"} if form != "table" else set())
    parts = len(parts_of(networks.generator))
    assert sum(n.endswith("residual") for n in names) == parts * ("residual" in kinds)
    assert trained_variables(networks, stage, "discriminator") == (
        networks.discriminator.trainable_variables
    )


@each_kind
def test_coordinates_have_a_learning_rate_of_their_own(form, kind):
    method, networks = build(form, **kind)
    rate = method.config.generator.learning_rate
    first, second = method.stages(networks)[0].phases[-1].trained
    assert "scores" in first.patterns[0] and second.optimizer.learning_rate == rate
    if kind.get("whitened", True):
        # The generator's over the RMS of the deviations.
        squares = np.concatenate([((t - t.mean(axis=0)) ** 2).ravel() for t in tables(form)])
        expected = rate / np.sqrt(squares.mean())
        assert first.optimizer.learning_rate == pytest.approx(expected, rel=1e-5)
    else:
        assert first.optimizer.learning_rate != rate
    method, networks = build(form, equal_updates=False, **kind)
    rates = {t.optimizer.learning_rate for t in method.stages(networks)[0].phases[-1].trained}
    assert rates == {rate}


# Penalties.


@each_kind
def test_the_penalty_of_the_old_classes_is_its_weight(form, kind):
    target = DataSpec(tuple("abcde"), 8)
    config = create_config("class_prior", {"l2_prior": 0.7, **kind})
    method = create_method(config)
    networks = method.build((tiny_source(form),), target)
    method._prior.start(networks.generator, np.eye(5))
    (stage,) = method.stages(networks)
    terms = penalties(networks, stage)
    rank = np.linalg.matrix_rank(
        np.concatenate(tables(form), axis=1)
        - np.concatenate([t.mean(axis=0) for t in tables(form)]),
        tol=1e-4,
    )
    if not kind:
        assert rank == score_matrices(parts_of(networks.generator))[0].kernel.shape[0]
        assert terms["l2_prior"] == pytest.approx(0.7, rel=1e-5)
    else:
        assert terms["l2_prior"] <= 0.7 * (1 + 1e-5)
    assert terms["l2_residual"] == 0


def test_residuals_are_penalised_in_units_of_the_old_deviations():
    method, networks = build(l2_residual=0.3)
    total, count, squares = 0.0, 0, []
    for i, part in enumerate(parts_of(networks.generator)):
        value = normal(*part.residual.shape, seed=i)
        part.residual.assign(value + 5)
        total, count = total + ((value - value.mean(axis=0)) ** 2).sum(), count + value.size
    for table in tables("table"):
        squares.append(((table - table.mean(axis=0)) ** 2).ravel())
    expected = 0.3 * total / count / np.concatenate(squares).mean()
    (stage,) = method.stages(networks)
    assert penalties(networks, stage)["l2_residual"] == pytest.approx(expected, rel=1e-4)


def test_without_residuals_they_are_not_penalised():
    method, networks = build(residual=False)
    assert set(penalties(networks, method.stages(networks)[0])) == {"l2_prior"}


# What samples and is exported.


@each_kind
def test_old_classes_stay_bit_identical_and_new_ones_fold(form, kind):
    method, networks = build(form, **kind)
    old = method.extended(networks)(Z, np.array([0, 4, 2]))
    networks.generator(normal(4, 8), np.array([0, 1, 2, 0]), training=True)
    (stage,) = method.stages(networks)
    for i, variable in enumerate(trained_variables(networks, stage, "generator")):
        variable.assign(variable + 0.1 * normal(*variable.shape, seed=i))
    extended = method.extended(networks)
    assert extended.class_names == [*OLD, *TARGET.class_names]
    np.testing.assert_array_equal(extended(Z, np.array([0, 4, 2])), old)
    np.testing.assert_allclose(
        old, tiny_source(form).generator(Z, np.array([0, 4, 2]))[0], atol=1e-5
    )
    expected = networks.generator(Z, LABELS)[0]
    np.testing.assert_allclose(extended(Z, LABELS + 5), expected, atol=1e-5)


def test_classes_are_added_to_what_has_been_added():
    method, networks = build("shared_hierarchical")
    first = method.as_source(networks, method.extended(networks))
    target = DataSpec(("u", "v"), 8)
    with pytest.raises(InputError, match=r"class_table=random, as .* knows 3 of its 8 classes"):
        build(source=first, target=target)
    settings = {"class_table": "random", "start": "mean"}
    second, newer = build(source=first, target=target, **settings)
    both = second.extended(newer)
    assert both.class_names == [*OLD, *TARGET.class_names, "u", "v"]
    earlier = np.array([7, 0, 5])
    np.testing.assert_array_equal(both(Z, earlier), first.generator(Z, earlier)[0])


# What does not fit.


def test_a_source_of_one_class():
    spec = GanSpec(
        resolution=8, num_classes=1, dim_z=8, g_widths=(8, 8), d_widths=(8, 8), d_halvings=1
    )
    source = create_gan(spec, ["one"])
    with pytest.raises(InputError, match="a source of at least 2 classes for a prior, got 1"):
        build(source=source, start="mean", class_table="random")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start": "best"}, "start must be one of similar, mean, random, got 'best'"),
        ({"class_table": "mean"}, "class_table must be one of similar, random, got 'mean'"),
        ({"temperature": 0.0}, "class_prior.temperature must be above 0, got 0"),
        ({"l2_prior": -1.0}, "l2_prior must be at least 0, got -1"),
        ({"l2_residual": -1.0}, "l2_residual must be at least 0, got -1"),
    ],
)
def test_values_out_of_range(settings, message):
    with pytest.raises(InputError, match=message):
        validate(create_config("class_prior", settings))


def test_the_ablations_of_the_flagfile_are_settings_that_differ_from_the_defaults():
    text = CONFIG.read_text(encoding="utf-8")
    flags = re.findall(r"^#\s+--config\.class_prior\.(\w+)=(\S+)", text, flags=re.MULTILINE)
    default = create_config("class_prior").class_prior
    found = set()
    for name, value in flags:
        kind = type(getattr(default, name))
        typed = value == "True" if kind is bool else kind(value)
        config = config_from_dict({"method": {"name": "class_prior"}, "class_prior": {name: typed}})
        validate(config)
        assert config.class_prior != default, name
        found.add(name)
    assert found == set(vars(default)) - {"temperature"}
