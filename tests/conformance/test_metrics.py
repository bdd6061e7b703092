"""What every public metric must do: order, precision, inputs, and one clear error each."""

import dataclasses
import importlib
import inspect
import warnings

import numpy as np
import pytest

import cgt_tf.evaluation
from cgt_tf.errors import InputError
from cgt_tf.metrics.accuracy import classification_accuracy
from cgt_tf.metrics.diversity import intra_class_diversity, intra_class_variance
from cgt_tf.metrics.fid import frechet_distance
from cgt_tf.metrics.fid_infinity import fid_infinity
from cgt_tf.metrics.fld import feature_likelihood_divergence
from cgt_tf.metrics.inception_score import inception_score
from cgt_tf.metrics.intra_cluster import intra_cluster_diversity
from cgt_tf.metrics.intra_fid import intra_class_fid
from cgt_tf.metrics.intra_kid import intra_class_kid
from cgt_tf.metrics.kid import kernel_distance, kernel_distance_subsets
from cgt_tf.metrics.kmmd import kernel_mmd
from cgt_tf.metrics.mind import monge_distance
from cgt_tf.metrics.neighbours import memorisation, nearest_neighbours
from cgt_tf.metrics.prdc import prdc
from cgt_tf.metrics.registry import METRICS

WIDTH = 12
RNG = np.random.default_rng(0)
# Float32 values, so that float32 and float64 input are the same numbers.
REAL = (RNG.normal(size=(60, WIDTH)) + 1).astype(np.float32)
FAKE = (RNG.normal(size=(48, WIDTH)) * 1.3 + 1.2).astype(np.float32)
REAL_LABELS, FAKE_LABELS = np.arange(60) % 3, np.arange(48) % 3


def probabilities(features):
    values = np.exp(
        features.astype(np.float64) - features.max(initial=0, where=np.isfinite(features))
    )
    return values / values.sum(axis=1, keepdims=True)


# name: the metric as a function of real and generated features alone.
PAIRED = {
    "frechet_distance": frechet_distance,
    "fid_infinity": lambda real, fake: fid_infinity(real, fake, points=3),
    "kernel_mmd": kernel_mmd,
    "kernel_distance": kernel_distance,
    "kernel_distance_subsets": lambda real, fake: kernel_distance_subsets(real, fake, 3, 20),
    "prdc": prdc,
    "monge_distance": lambda real, fake: monge_distance(real, fake, projections=70),
    "feature_likelihood_divergence": lambda real, fake: feature_likelihood_divergence(
        real[: max(4, len(real) // 2)], real, fake
    ),
    "intra_cluster_diversity": intra_cluster_diversity,
    "memorisation": memorisation,
    "nearest_neighbours": nearest_neighbours,
    "intra_class_fid": lambda real, fake: intra_class_fid(
        real, REAL_LABELS[: len(real)], fake, FAKE_LABELS[: len(fake)]
    ),
    "intra_class_kid": lambda real, fake: intra_class_kid(
        real, REAL_LABELS[: len(real)], fake, FAKE_LABELS[: len(fake)]
    ),
    "intra_class_variance": lambda real, fake: intra_class_variance(
        real, REAL_LABELS[: len(real)], fake, FAKE_LABELS[: len(fake)]
    ),
}
# Of generated samples alone.
SINGLE = {
    "inception_score": lambda fake: inception_score(probabilities(fake), 1),
    "intra_class_diversity": lambda fake: intra_class_diversity(fake, FAKE_LABELS[: len(fake)]),
}
CASES = {name: lambda real, fake, f=f: f(fake) for name, f in SINGLE.items()} | PAIRED
# No metrics of features, and parts of others: each has its tests beside it.
OTHERS = {"classification_accuracy", "is_copying", "mean_distance"}
# The result is one row for each generated sample, or depends on which samples are drawn.
BY_SAMPLE = {"memorisation", "nearest_neighbours"}
BY_DRAW = {"fid_infinity", "kernel_distance_subsets", "feature_likelihood_divergence"}
LABELLED = (intra_class_diversity, intra_class_fid, intra_class_kid, intra_class_variance)
# `nearest` is in two files.
MODULES = {*METRICS.values(), memorisation.__module__}

each_metric = pytest.mark.parametrize("name", CASES)


def numbers(result):
    """All numbers of a result, as one flat array."""
    if result is None:
        return np.empty(0)
    if dataclasses.is_dataclass(result):
        result = vars(result)
    if isinstance(result, dict):
        result = tuple(result.values())
    if isinstance(result, tuple):
        return np.concatenate([numbers(part) for part in result])
    return np.ravel(np.asarray(result, np.float64))


def test_every_metric_has_a_case():
    functions = {
        name
        for module in map(importlib.import_module, MODULES)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }
    assert functions == {*CASES, *OTHERS}


def test_five_are_for_other_programs():
    names = {"frechet_distance", "inception_score", "kernel_distance", "kernel_mmd", "prdc"}
    assert {*cgt_tf.evaluation.__all__} == names
    assert all(inspect.isfunction(getattr(cgt_tf.evaluation, name)) for name in names)


@each_metric
def test_the_result_is_finite_and_comes_without_warnings(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        values = numbers(CASES[name](REAL, FAKE))
    assert values.size and np.isfinite(values).all()


@each_metric
def test_input_stays_as_it_was_and_gives_the_same_again(name):
    real, fake = REAL.copy(), FAKE.copy()
    real.flags.writeable = fake.flags.writeable = False
    first = numbers(CASES[name](real, fake))
    np.testing.assert_array_equal(numbers(CASES[name](real, fake)), first)
    np.testing.assert_array_equal(real, REAL)
    np.testing.assert_array_equal(fake, FAKE)


@each_metric
def test_float32_is_accumulated_in_float64(name):
    expected = numbers(CASES[name](REAL.astype(np.float64), FAKE.astype(np.float64)))
    np.testing.assert_allclose(numbers(CASES[name](REAL, FAKE)), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", sorted({*CASES} - BY_SAMPLE - BY_DRAW))
def test_the_order_of_the_samples_does_not_matter(name):
    # Labels repeat every 3 samples: whole groups of 3 change places, so that the labels still fit.
    real, fake = (
        rows.reshape(-1, 3, WIDTH)[np.random.default_rng(1).permutation(len(rows) // 3)]
        for rows in (REAL, FAKE)
    )
    expected = numbers(CASES[name](REAL, FAKE))
    values = numbers(CASES[name](real.reshape(-1, WIDTH), fake.reshape(-1, WIDTH)))
    np.testing.assert_allclose(values, expected, rtol=1e-10, atol=1e-12)


@each_metric
def test_a_fortran_ordered_or_strided_array_is_the_same(name):
    real = np.asfortranarray(REAL)
    fake = np.repeat(FAKE, 2, axis=0)[::2]
    np.testing.assert_allclose(
        numbers(CASES[name](real, fake)), numbers(CASES[name](REAL, FAKE)), rtol=1e-10, atol=1e-12
    )


def broken(rows, position, value):
    rows = rows.copy()
    rows[position, 0] = value
    return rows


BAD = {
    "empty": lambda rows: rows[:0],
    "vector": lambda rows: rows[0],
    "nan": lambda rows: broken(rows, 3, np.nan),
    "infinity": lambda rows: broken(rows, 3, -np.inf),
    "width": lambda rows: rows[:, :-1],
    "one_sample": lambda rows: rows[:1],
}


@pytest.mark.parametrize("kind", BAD)
@each_metric
def test_degenerate_input_is_one_clear_error(name, kind):
    if name == "nearest_neighbours" and kind == "one_sample":
        return  # one image has a neighbour
    pairs = [(REAL, BAD[kind](FAKE)), (BAD[kind](REAL), FAKE)]
    if name in SINGLE:
        if kind == "width":
            return  # there is nothing to fit
        pairs = pairs[:1]
    if name == "inception_score" and kind in ("nan", "infinity", "vector"):
        fake = BAD[kind](probabilities(FAKE))
        metric, pairs = (lambda real, fake: inception_score(fake, 1)), [(REAL, fake)]
    else:
        metric = CASES[name]
    for pair in pairs:
        with pytest.raises(InputError, match=r"expected .*got ") as raised:
            metric(*pair)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("metric", LABELLED)
def test_an_empty_class_is_named(metric):
    without = FAKE_LABELS != 1
    arguments = (FAKE[without], FAKE_LABELS[without])
    if metric is not intra_class_diversity:
        arguments = (REAL, REAL_LABELS, *arguments)
    with pytest.raises(InputError, match="samples of class 'fox', got 0"):
        metric(*arguments, class_names=["owl", "fox", "hen"])


def test_an_empty_class_has_no_accuracy():
    with pytest.raises(InputError, match="of class 'fox', got none"):
        classification_accuracy([0, 0], [0, 0], ["owl", "fox"])


UNDEFINED_FOR_CONSTANT_REAL = {"kernel_mmd", "prdc", "intra_class_variance"} | {
    "feature_likelihood_divergence"
}


@pytest.mark.parametrize("name", PAIRED)
def test_constant_real_features_give_a_number_or_an_error(name):
    constant = np.full_like(REAL, 0.1)
    if name in UNDEFINED_FOR_CONSTANT_REAL:
        with pytest.raises(InputError, match=r"expected real features that differ"):
            PAIRED[name](constant, FAKE)
    else:
        assert np.isfinite(numbers(PAIRED[name](constant, FAKE))).all()


@pytest.mark.parametrize("name", PAIRED)
def test_constant_generated_features_give_a_number(name):
    assert np.isfinite(numbers(PAIRED[name](REAL, np.full_like(FAKE, 0.1)))).all()
