"""Frechet distance against golden numbers, tensorflow-gan and closed forms."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cgt_tf import tfgan
from cgt_tf.errors import InputError
from cgt_tf.evaluation import frechet_distance
from cgt_tf.evaluation.fid import GaussianStatistics

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


GOOD = np.arange(12.0).reshape(4, 3) ** 2


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (GOOD[:1], r"got shape \[1, 3\]"),
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
        with pytest.raises(InputError, match=message) as raised:
            frechet_distance(*arguments)
        assert "\n" not in str(raised.value)


def test_metrics_import_without_tensorflow():
    code = "import sys, cgt_tf.evaluation; sys.exit('tensorflow' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
