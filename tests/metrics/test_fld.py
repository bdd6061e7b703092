"""FLD: its parts by hand, and what it says of honest, poor and copied images."""

import numpy as np
import pytest

from cgt_tf.errors import InputError
from cgt_tf.metrics import fld
from cgt_tf.metrics.fld import feature_likelihood_divergence

WIDTH, COUNT = 32, 200


def real_features(count, seed):
    """Ten clusters that lie near planes, as features of images of ten classes do."""
    fixed = np.random.default_rng(99)
    means, mixing = fixed.normal(size=(10, WIDTH)), fixed.normal(size=(5, WIDTH))
    rng = np.random.default_rng(seed)
    within = rng.normal(size=(count, 5)) @ mixing * 0.5 + 0.1 * rng.normal(size=(count, WIDTH))
    return means[rng.integers(0, 10, count)] + within


TRAINING, HELDOUT, HONEST = (real_features(COUNT, seed) for seed in (0, 1, 2))


def divergence(fake, training=TRAINING):
    result = feature_likelihood_divergence(training, HELDOUT, fake)
    return result, fld.is_copying(result.value, result.gap, result.gap_error)


def test_replayed_training_images_are_flagged_and_honest_samples_are_not():
    copies = TRAINING[np.random.default_rng(3).integers(0, COUNT, COUNT)]
    (honest, flagged), (replayed, caught) = divergence(HONEST), divergence(copies)
    assert not flagged and caught
    assert replayed.value > 1000 > 100 > abs(honest.value)
    assert replayed.gap < -1000 < -20 < honest.gap


def test_the_gap_tells_of_a_fifth_of_copies_where_the_value_hardly_moves():
    mixed = np.concatenate([TRAINING[: COUNT // 5], HONEST[COUNT // 5 :]])
    (honest, _), (result, caught) = divergence(HONEST), divergence(mixed)
    assert caught and result.gap < -50
    assert result.value == pytest.approx(honest.value, abs=10)


POOR = {"far": 10 * HONEST + 5, "timid": 0.5 * HONEST, "one": np.zeros_like(HONEST)}


@pytest.mark.parametrize("name", POOR)
def test_poor_images_score_worse_but_are_no_copies(name):
    result, flagged = divergence(POOR[name])
    assert result.value > divergence(HONEST)[0].value + 5
    assert not flagged


def test_real_images_in_place_of_generated_ones_score_nothing():
    """The first half of the shuffle is the real mixture's own: with it both mixtures are one."""
    halves = TRAINING[np.random.default_rng(0).permutation(COUNT)]
    centres, fitted = halves[: COUNT // 2], halves[COUNT // 2 :]
    scaled = fld._standardised(fitted, HELDOUT, centres)
    by_hand = [part.mean() for part in fld._costs(scaled[2], scaled[0], scaled[1])]
    result = feature_likelihood_divergence(TRAINING, HELDOUT, HONEST)
    own = fld._standardised(TRAINING, HELDOUT, HONEST)
    costs = [part.mean() for part in fld._costs(own[2], own[0], own[1])]
    assert result.value == pytest.approx(100 * (costs[1] - by_hand[1]))
    assert result.gap == pytest.approx(100 * (costs[0] - costs[1] - by_hand[0] + by_hand[1]))


def test_likelihood_is_that_of_the_mixture():
    rows, centres = HELDOUT[:3, :2], HONEST[:4, :2]
    variances = np.array([0.5, 1.0, 2.0, 0.1])
    density = np.zeros(3)
    for centre, variance in zip(centres, variances, strict=True):
        squared = np.sum((rows - centre) ** 2, axis=1)
        density += np.exp(-squared / (2 * variance)) / (2 * np.pi * variance) / 4
    np.testing.assert_allclose(fld._cost(rows, centres, variances), -np.log(density) / 2)


def test_fitted_widths_are_a_maximum_of_the_likelihood(monkeypatch):
    """No other factor on a width makes the rows likelier, the broad component counted."""
    monkeypatch.setattr(fld, "_CONVERGED", 1e-10)
    monkeypatch.setattr(fld, "_MOST_UPDATES", 2000)
    rows, centres = HELDOUT[:40, :3], HONEST[:6, :3]
    far = 0.81 * np.sum((rows - rows.mean(axis=0)) ** 2, axis=1)
    found = fld._fitted_variances(centres, rows)

    def likelihood(variances, broad):
        blocks = fld._Blocks(rows, centres)
        return fld._expectation(blocks, far, np.append(variances, broad), 3)[2]

    broad = max(np.geomspace(0.05, 20, 4000), key=lambda value: likelihood(found, value))
    best = likelihood(found, broad)
    for i in range(6):
        for factor in (0.9, 1.1):
            changed = found.copy()
            changed[i] *= factor
            assert likelihood(changed, broad) <= best + 1e-6


def test_blocks_change_nothing(monkeypatch):
    whole = divergence(HONEST)[0]
    monkeypatch.setattr(fld, "_KEPT_NUMBERS", 4 * COUNT * 7)
    assert divergence(HONEST)[0].value == pytest.approx(whole.value, rel=1e-9)


def test_constant_features_are_left_out_and_scales_do_not_matter():
    scale, shift = np.geomspace(1e-3, 1e3, WIDTH), np.arange(WIDTH)
    sets = [rows * scale + shift for rows in (TRAINING, HELDOUT, HONEST)]
    dead = [np.pad(rows, ((0, 0), (0, 1)), constant_values=7) for rows in sets]
    dead[2][:, -1] = 9
    expected = divergence(HONEST)[0]
    assert feature_likelihood_divergence(*dead).value == pytest.approx(expected.value, rel=1e-6)


def test_more_than_the_most_centres_are_drawn(monkeypatch):
    monkeypatch.setattr(fld, "_MOST_CENTRES", 100)
    drawn = HONEST[np.random.default_rng(0).permutation(COUNT)[:100]]
    assert divergence(HONEST)[0].value != pytest.approx(divergence(drawn)[0].value, abs=1e-9)
    same = feature_likelihood_divergence(TRAINING, HELDOUT, HONEST, seed=0)
    assert same == feature_likelihood_divergence(TRAINING, HELDOUT, HONEST, seed=0)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ((TRAINING[:3], HELDOUT, HONEST), r"training features \[n, d\] with n >= 4"),
        ((TRAINING, HELDOUT[:1], HONEST), r"held-out features \[n, d\] with n >= 2"),
        ((TRAINING, HELDOUT[:, 1:], HONEST), "real and held-out features of one width"),
        ((TRAINING, HELDOUT, HONEST[:, 1:]), "real and generated features of one width"),
        ((TRAINING, HELDOUT * 0, HONEST), "real features that differ between samples"),
        ((TRAINING, HELDOUT, HONEST * 1e200), "of usual magnitude, got an overflow"),
    ],
)
def test_bad_input_is_one_clear_error(sets, message):
    with pytest.raises(InputError, match=message):
        feature_likelihood_divergence(*sets)
