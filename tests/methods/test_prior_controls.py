"""Controls of cGANTransfer's pseudo-classes, and its learning rates at equal updates."""

import numpy as np
import pytest
from keras import ops
from tiny_sources import TARGET, normal, penalties, tiny_source, trained_variables, values

from cgt_tf.data.image_set import ImageSet
from cgt_tf.errors import InputError
from cgt_tf.methods import discriminant
from cgt_tf.methods.cgan_transfer_settings import CGANTransferSettings
from cgt_tf.methods.prior_controls import prior_rows, prior_table, table_rng
from cgt_tf.methods.propagation import old_offsets, parts_of
from cgt_tf.methods.registry import create_config, create_method, validate
from cgt_tf.networks.weights import variable_name

slow = pytest.mark.slow
each_form = pytest.mark.parametrize(
    "form", ["table", *(pytest.param(f, marks=slow) for f in ("shared_hierarchical", "deep"))]
)
TABLE = 2 + normal(6, 9)


def images():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    return ImageSet(pixels, np.arange(6, dtype=np.int32) % 3, TARGET.class_names, "random")


def build(form="table", data=None, seed=1, **settings):
    config = create_config("cgan_transfer", settings, seed=seed)
    validate(config)
    method = create_method(config)
    networks = method.build((tiny_source(form),), TARGET)
    method.prepare(networks, data or images())
    return method, networks


def priors(networks):
    return [ops.convert_to_numpy(part.prior.kernel) for part in parts_of(networks.generator)]


def table_of(init, rows=None, seed=0, table=TABLE):
    rows = np.arange(len(table)) if rows is None else np.array(rows)
    return prior_table(table, rows, CGANTransferSettings(prior_init=init), table_rng(seed))


# What is made of the old classes.


def test_old_classes_are_taken_as_they_are():
    np.testing.assert_array_equal(table_of("old"), TABLE)
    np.testing.assert_array_equal(table_of("old", [4, 1]), TABLE[[4, 1]])


def test_permuted_channels_keep_how_classes_lie_to_each_other():
    mean = TABLE.mean(axis=0)
    old, found = TABLE - mean, table_of("permuted") - mean
    np.testing.assert_allclose(found @ found.T, old @ old.T, rtol=1e-4, atol=1e-5)
    order = [int(np.argmin(np.abs(old - column[:, None]).sum(axis=0))) for column in found.T]
    assert sorted(order) == list(range(9)) and order != list(range(9))
    np.testing.assert_allclose(found, old[:, order], atol=1e-6)
    np.testing.assert_allclose(table_of("permuted", [3, 0]), (mean + found)[[3, 0]], rtol=1e-5)
    assert np.abs(table_of("permuted", seed=1) - table_of("permuted")).max() > 0.1


def test_random_rows_have_the_mean_and_covariance_of_the_old_classes():
    count = 40_000
    rows = table_of("random", np.zeros(count, int))
    expected = np.cov(TABLE.T, bias=True)
    found = np.cov(rows.T)
    # Standard errors of a covariance, sqrt((s_ii s_jj + s_ij^2) / n), and of a mean.
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)) + expected**2)
    assert (np.abs(found - expected) < 5 * scale / np.sqrt(count)).all()
    error = np.abs(rows.mean(axis=0) - TABLE.mean(axis=0))
    assert (error < 5 * np.sqrt(np.diag(expected) / count)).all()


@each_form
@pytest.mark.parametrize("init", ["permuted", "random"])
def test_controls_are_drawn_apart_for_each_scale_and_shift(form, init):
    old = [table for table, _ in old_offsets(tiny_source(form))]
    found = priors(build(form, prior_init=init)[1])
    for table, made in zip(old, found, strict=True):
        assert made.shape == table.shape
    # Two channels may keep their order.
    assert sum(np.abs(made - x).max() > 0.05 for x, made in zip(old, found, strict=True)) > 1
    again = priors(build(form, prior_init=init)[1])
    for first, second in zip(found, again, strict=True):
        np.testing.assert_array_equal(first, second)
    # The same columns in two tables would come out in the same order if they shared a draw.
    settings, rng = CGANTransferSettings(prior_init=init), table_rng(0)
    first, second = (prior_table(TABLE, np.arange(6), settings, rng) for _ in range(2))
    assert np.abs(first - second).max() > 0.1


@each_form
def test_one_shared_offset_makes_all_new_classes_alike(form):
    method, networks = build(form, prior_init="mean", residual=False)
    for (table, _), made in zip(old_offsets(tiny_source(form)), priors(networks), strict=True):
        np.testing.assert_allclose(made, table.mean(axis=0)[None], rtol=1e-5, atol=1e-6)
    (stage,) = method.stages(networks)
    trained = {variable_name(v) for v in trained_variables(networks, stage, "generator")}
    assert {name.split("/")[-2] for name in trained} <= {"prior", "latent"}
    for variable in trained_variables(networks, stage, "generator"):
        variable.assign(variable + 0.1)
    z = np.repeat(normal(1, 8), 3, axis=0)
    made = ops.convert_to_numpy(method.extended(networks)(z, np.array([5, 6, 7])))
    np.testing.assert_array_equal(made[1:], made[:1].repeat(2, axis=0))
    assert "l1_scores" not in penalties(networks, stage)


def test_residuals_may_go_with_one_shared_offset():
    method, networks = build(prior_init="mean")
    (stage,) = method.stages(networks)
    trained = {variable_name(v) for v in trained_variables(networks, stage, "generator")}
    assert {name.rpartition("/")[2] for name in trained} == {"kernel", "residual"}
    assert not any("/scores/" in name for name in trained)


# Which old classes.


def test_random_classes_depend_on_the_seed_alone():
    settings = CGANTransferSettings(prior_classes=4, prior_choice="random")
    found = [prior_rows(30, settings, seed) for seed in (0, 0, 1)]
    for rows in found:
        assert len(set(rows)) == 4 and (np.diff(rows) > 0).all() and rows.max() < 30
    np.testing.assert_array_equal(found[0], found[1])
    assert list(found[0]) != list(found[2])


def test_the_nearest_classes_leave_no_new_class_far_away():
    # Classes 2 and 3 are nearest to the first two new classes, 0 to the last; 1 is middling to all.
    distances = np.array([[9, 5, 0, 1], [9, 5, 0, 1], [0, 6, 8, 9]])

    def rows(count):
        return list(prior_rows(4, CGANTransferSettings(prior_classes=count), 0, -distances))

    assert rows(1) == [2]
    assert rows(2) == [0, 2]
    # All new classes are reached; of the rest, 3 is nearer to any.
    assert rows(3) == [0, 2, 3]


@each_form
def test_the_prior_is_made_of_the_nearest_classes(form, monkeypatch):
    logs = -np.array([[9.0, 9, 5, 9, 0], [9, 8, 0, 9, 9], [9, 9, 9, 9, 0]])
    monkeypatch.setattr(discriminant, "log_similarities", lambda source, images: logs)
    method, networks = build(form, prior_classes=2, scores_init="nearest", nearest_classes=1)
    for (table, _), made in zip(old_offsets(tiny_source(form)), priors(networks), strict=True):
        np.testing.assert_array_equal(made, table[[2, 4]])
    for part in parts_of(networks.generator):
        scores = ops.convert_to_numpy(part.scores.kernel)
        np.testing.assert_array_equal(scores.argmax(axis=0), [1, 0, 1])
    assert method.extended(networks).spec.num_classes == 8


def test_a_random_choice_needs_no_images():
    _, networks = build(prior_classes=3, prior_choice="random", seed=4)
    rows = prior_rows(5, CGANTransferSettings(prior_classes=3, prior_choice="random"), 4)
    for (table, _), made in zip(old_offsets(tiny_source("table")), priors(networks), strict=True):
        np.testing.assert_array_equal(made, table[rows])


def test_more_classes_than_there_are_is_all_of_them():
    first, second = build(prior_classes=99)[1], build()[1]
    for name, value in values(second.generator).items():
        np.testing.assert_array_equal(values(first.generator)[name], value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prior_init": "new"}, "prior_init must be one of old, permuted, random, mean, got 'new'"),
        ({"prior_choice": "best"}, "prior_choice must be one of nearest, random, got 'best'"),
        ({"prior_classes": -1}, "prior_classes must be at least 0, got -1"),
        (
            {"prior_init": "mean", "scores_init": "random"},
            "expected .*scores_init=uniform with prior_init=mean.*got 'random'",
        ),
        (
            {"prior_init": "random", "scores_init": "nearest"},
            "with prior_init=random, whose rows are no old classes, got 'nearest'",
        ),
        (
            {"prior_init": "mean", "prior_classes": 4},
            "expected .*prior_classes=0 with prior_init=mean, the mean of all, got 4",
        ),
        (
            {"prior_init": "mean", "train_prior": False, "residual": False},
            "prior_init=mean has no scores to train",
        ),
        (
            {"equal_updates": True, "spectral_norm": True},
            "expected .*spectral_norm=False with equal_updates",
        ),
    ],
)
def test_what_does_not_go_together(settings, message):
    with pytest.raises(InputError, match=message):
        validate(create_config("cgan_transfer", settings))


# Equal updates.


@each_form
def test_each_kind_of_offsets_has_its_learning_rate(form):
    method, networks = build(form, equal_updates=True)
    for i, part in enumerate(parts_of(networks.generator)):
        noise = normal(*part.scores.kernel.shape, seed=20 + i)
        part.scores.kernel.assign(0.2 + 0.1 * (i + 1) * noise)
    plain, others = build(form)
    (stage,), (expected,) = method.stages(networks), plain.stages(others)
    names = [variable_name(v) for v in trained_variables(networks, stage, "generator")]
    assert len(set(names)) == len(names)
    assert set(names) == {
        variable_name(v) for v in trained_variables(others, expected, "generator")
    }
    rates = {}
    for part in stage.phases[-1].trained:
        kind = part.patterns[0].partition(")/")[2].split("/")[0]
        rates[kind] = part.optimizer.learning_rate / method.config.generator.learning_rate
    kinds = {"scores", "prior", "residual"} | ({"latent"} if form != "table" else set())
    assert rates.keys() == kinds
    assert rates.get("latent", 1) == 1
    # By the linear maps themselves: what unit steps of each kind do to all offsets.
    changes = {kind: [] for kind in ("scores", "prior", "residual")}
    for i, part in enumerate(parts_of(networks.generator)):
        p, s = (ops.convert_to_numpy(x.kernel).astype(float) for x in (part.prior, part.scores))
        g = np.random.default_rng(i).normal(size=(4000, s.shape[1], p.shape[1]))
        scores = np.einsum("nc,tmc->tnm", p, g) / np.linalg.norm(p, axis=1)[:, None]
        prior = np.einsum("nm,tmc->tnc", s, g) / np.linalg.norm(s, axis=1)[:, None]
        changes["scores"].append(np.einsum("tnm,nc->tmc", scores, p))
        changes["prior"].append(np.einsum("nm,tnc->tmc", s, prior))
        changes["residual"].append(g)
    moved = {
        kind: rates[kind] * np.concatenate([x.ravel() for x in each])
        for kind, each in changes.items()
    }
    sizes = {kind: np.sqrt(np.mean(x**2)) for kind, x in moved.items()}
    assert sizes["scores"] == pytest.approx(sizes["residual"], rel=0.05)
    assert sizes["prior"] == pytest.approx(sizes["residual"], rel=0.05)
    assert np.sqrt(np.mean(sum(moved.values()) ** 2)) == pytest.approx(1, rel=0.1)


def test_what_alone_is_trained_moves_at_the_learning_rate():
    method, networks = build(equal_updates=True, propagate=False)
    (trained,) = method.stages(networks)[0].phases[-1].trained
    assert trained.optimizer.learning_rate == method.config.generator.learning_rate


def test_shared_scores_move_all_layers():
    method, networks = build(equal_updates=True, per_layer_scores=False)
    rates = [t.optimizer.learning_rate for t in method.stages(networks)[0].phases[-1].trained]
    apart, others = build(equal_updates=True)
    theirs = [t.optimizer.learning_rate for t in apart.stages(others)[0].phases[-1].trained]
    assert rates[0] != pytest.approx(theirs[0], rel=0.01)


def test_fine_tuning_has_one_learning_rate():
    stages = ("propagate", "fine_tune")
    method, networks = build(equal_updates=True, stages=stages)
    first, second = method.stages(networks)
    assert len(first.phases[-1].trained) == 3 and len(second.phases[-1].trained) == 1
