"""Frechet distance against golden numbers, tensorflow-gan and closed forms."""

import functools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cgt_tf import tfgan
from cgt_tf.errors import InputError
from cgt_tf.metrics import distances, fid
from cgt_tf.metrics.fid import frechet_distance
from cgt_tf.metrics.fid_infinity import fid_infinity
from cgt_tf.metrics.gaussian import GaussianStatistics

GOLDEN = Path(__file__).parents[1] / "goldens" / "metrics.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


def test_matches_the_reference_implementation(golden):
    assert frechet_distance(golden["A"], golden["B"]) == pytest.approx(golden["fid"], rel=1e-10)


def test_matches_tensorflow_gan(golden):
    theirs = tfgan.classifier_metrics().frechet_classifier_distance_from_activations(
        golden["A"], golden["B"]
    )
    assert frechet_distance(golden["A"], golden["B"]) == pytest.approx(theirs.numpy(), rel=1e-8)
    assert theirs.numpy() == pytest.approx(golden["fid_tfgan"], rel=1e-8)


def test_float32_features_are_accumulated_in_float64(golden):
    offset = 1000.0
    real = (golden["A"] + offset).astype(np.float32)
    fake = (golden["B"] + offset).astype(np.float32)
    expected = frechet_distance(real.astype(np.float64), fake.astype(np.float64))
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-12)


def test_one_dimension_has_a_closed_form():
    rng = np.random.default_rng(0)
    real, fake = rng.normal(2, 3, (50, 1)), rng.normal(-1, 0.5, (70, 1))
    expected = (real.mean() - fake.mean()) ** 2 + (real.std(ddof=1) - fake.std(ddof=1)) ** 2
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-12)


def test_fewer_samples_than_features():
    rng = np.random.default_rng(1)
    real, fake = rng.normal(size=(20, 100)), rng.normal(size=(30, 100)) * 1.5 + 0.1
    # tr sqrt(C1 C2) is the nuclear norm of X Y^T / sqrt((n-1)(m-1)) for centred X and Y.
    x, y = real - real.mean(0), fake - fake.mean(0)
    cross = np.linalg.svd(x @ y.T, compute_uv=False).sum() / np.sqrt(19 * 29)
    expected = np.sum((real.mean(0) - fake.mean(0)) ** 2) + (x**2).sum() / 19 + (y**2).sum() / 29
    assert frechet_distance(real, fake) == pytest.approx(expected - 2 * cross, rel=1e-10)
    assert frechet_distance(real, real) == pytest.approx(0.0, abs=1e-9)


def test_constant_features_have_distance_of_their_means():
    real, fake = np.zeros((4, 3)), np.ones((5, 3))
    assert frechet_distance(real, fake) == pytest.approx(3.0)


def test_statistics_can_be_kept_and_are_made_in_blocks():
    rng = np.random.default_rng(2)
    features = rng.normal(size=(9000, 5))
    statistics = GaussianStatistics.from_features(features)
    assert statistics.count == 9000
    np.testing.assert_allclose(statistics.mean, features.mean(0), rtol=1e-12)
    np.testing.assert_allclose(statistics.covariance, np.cov(features.T), rtol=1e-10, atol=1e-14)
    other = GaussianStatistics.from_features(features[:100])
    assert statistics.distance(other) == frechet_distance(features, features[:100])


def full_covariance_distance(real, fake):
    """By the square root of one full covariance, with none of the package's code."""
    c1, c2 = np.cov(real.T), np.cov(fake.T)
    values, vectors = np.linalg.eigh(c1)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    eigenvalues = np.linalg.eigvalsh(root @ c2 @ root)
    # The zeros of fewer samples than features are left out: the root would magnify their noise.
    rank = min(len(real) - 1, len(fake) - 1, real.shape[1])
    cross = np.sqrt(np.maximum(eigenvalues[-rank:], 0)).sum()
    return np.sum((real.mean(0) - fake.mean(0)) ** 2) + np.trace(c1) + np.trace(c2) - 2 * cross


WIDTH = 40
COUNTS = [(20, 90), (90, 20), (20, 30), (30, 20), (80, 90), (40, 41), (41, 40), (2, 2)]


@pytest.mark.parametrize(("n", "m"), COUNTS)
def test_every_route_equals_the_full_covariances(monkeypatch, n, m):
    monkeypatch.setattr(distances, "BLOCK", 16)
    rng = np.random.default_rng(n)
    mixing = rng.normal(size=(WIDTH, WIDTH)) * np.arange(1, WIDTH + 1) ** -0.5
    real = (rng.normal(size=(n, WIDTH)) @ mixing).astype(np.float32) + 3
    fake = (rng.normal(size=(m, WIDTH)) @ mixing * 1.2).astype(np.float32)
    expected = full_covariance_distance(real.astype(np.float64), fake.astype(np.float64))
    kept = [GaussianStatistics.from_features(rows) for rows in (real, fake)]
    stored = [GaussianStatistics(s.mean, s.covariance, s.count) for s in kept]
    values = {
        "one shot": frechet_distance(real, fake),
        "kept": kept[0].distance(kept[1]),
        "stored": stored[0].distance(stored[1]),
        "stored real": stored[0].distance(kept[1]),
        "stored fake": kept[0].distance(stored[1]),
    }
    monkeypatch.setattr(fid, "_CROSS_SIZE", 0)
    values["no cross product"] = frechet_distance(real, fake)
    for name, value in values.items():
        assert value == pytest.approx(expected, rel=1e-8), name


def test_few_samples_form_no_covariance(monkeypatch):
    def fail(*_):
        raise AssertionError("a covariance was formed")

    monkeypatch.setattr(GaussianStatistics, "covariance", property(fail))
    rng = np.random.default_rng(3)
    few, many = rng.normal(size=(10, 30)), rng.normal(size=(50, 30))
    assert frechet_distance(few, many) == pytest.approx(frechet_distance(many, few), rel=1e-12)
    GaussianStatistics.from_features(few).distance(GaussianStatistics.from_features(few[:5]))


@pytest.mark.parametrize("seed", range(5))
def test_zero_eigenvalues_add_no_noise(seed):
    """Centred rows have one eigenvalue less than rows, and the root of its noise is 1e-8."""
    features = np.random.default_rng(seed).normal(size=(20, 40))
    kept = GaussianStatistics.from_features(features)
    scaled = GaussianStatistics(kept.mean, 9 * kept.covariance, kept.count)
    assert kept.distance(scaled) == pytest.approx(4 * np.trace(kept.covariance), rel=1e-12)


@pytest.mark.parametrize("count", [15, 400])
def test_shift_and_scale_of_a_gaussian_have_closed_forms(count):
    features = np.random.default_rng(4).normal(size=(count, 30))
    variance = features.var(axis=0, ddof=1).sum()
    shift = np.linspace(-2, 1, 30)
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(features, features + shift) == pytest.approx(np.sum(shift**2))
    mean = features.mean(axis=0)
    scaled = (features - mean) * 3 + mean
    assert frechet_distance(features, scaled) == pytest.approx(4 * variance)


def test_stored_statistics_are_checked():
    for mean, covariance, count in [
        (np.zeros(3), np.eye(2), 5),
        (np.zeros(3), np.zeros(3), 5),
        (np.zeros(3), np.eye(3), 1),
        (np.zeros(3), np.eye(3) * np.nan, 5),
    ]:
        with pytest.raises(InputError, match="expected"):
            GaussianStatistics(mean, covariance, count)


def test_extrapolation_removes_the_bias_of_few_generated_samples():
    rng = np.random.default_rng(5)
    real, fake = rng.normal(size=(40000, 8)), rng.normal(size=(2000, 8)) * 1.1
    exact = 8 * 0.1**2
    result = fid_infinity(real, fake, minimum=300, seed=1)
    assert result.counts[0] == 300 and result.counts[-1] == 2000 and len(result.counts) == 15
    assert result.distances[-1] == pytest.approx(frechet_distance(real, fake), rel=1e-9)
    assert result.slope > 0 and result.residual < 0.02
    assert result.value < result.distances.min()
    assert abs(result.value - exact) < 0.03


def test_extrapolation_finds_the_intercept_of_a_line(monkeypatch):
    def distance(self, other):
        return 5.0 + 70.0 / other.count

    monkeypatch.setattr(GaussianStatistics, "distance", distance)
    fake = np.random.default_rng(6).normal(size=(100, 3))
    statistics = GaussianStatistics.from_features(fake)
    result = fid_infinity(statistics, fake, points=4)
    assert result.counts.tolist() == [10, 40, 70, 100]
    assert result[:2] == pytest.approx((5.0, 70.0)) and result.residual < 1e-10


@pytest.mark.parametrize(
    "options", [{"points": 2}, {"minimum": 1}, {"minimum": 90}, {"points": 1000}]
)
def test_extrapolation_rejects_what_gives_no_line(options):
    features = np.random.default_rng(7).normal(size=(100, 3))
    with pytest.raises(InputError, match="100 generated samples, got"):
        fid_infinity(features, features, **options)


GOOD = np.arange(12.0).reshape(4, 3) ** 2


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (GOOD[:1], r"got shape \[1, 3\]"),
        (GOOD[:0], r"got shape \[0, 3\]"),
        (GOOD[0], r"got shape \[3\]"),
        (GOOD[:, :0], r"got shape \[4, 0\]"),
        (GOOD[:, :2], "one width"),
        (np.where(GOOD > 100, np.nan, GOOD), "NaN or infinity in 1 of 4"),
        (np.where(GOOD > 100, np.inf, GOOD), "NaN or infinity in 1 of 4"),
        (GOOD * 1e200, "overflow"),
        (GOOD.astype(complex), "dtype complex128"),
        ([["a", "b", "c"], ["d", "e", "f"]], "dtype <U1"),
        ([[1.0, 2.0], [3.0]], "unequal length"),
    ],
)
def test_degenerate_features_are_input_errors(bad, message):
    for arguments in ((bad, GOOD), (GOOD, bad)):
        for metric in (frechet_distance, functools.partial(fid_infinity, points=3)):
            with pytest.raises(InputError, match=message) as raised:
                metric(*arguments)
            assert "\n" not in str(raised.value)


def test_products_that_overflow_are_input_errors():
    with pytest.raises(InputError, match="overflow"):
        frechet_distance(GOOD * 1e100, GOOD * 1e150)


def test_metrics_import_without_tensorflow():
    code = "import sys, cgt_tf.evaluation; sys.exit('tensorflow' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
