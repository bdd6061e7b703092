"""Metrics within classes: against the metric of each class alone, and on classes that collapsed."""

import numpy as np
import pytest

from cgt_tf.errors import InputError
from cgt_tf.metrics import distances
from cgt_tf.metrics.accuracy import classification_accuracy
from cgt_tf.metrics.diversity import intra_class_diversity, intra_class_variance
from cgt_tf.metrics.fid import frechet_distance
from cgt_tf.metrics.intra_fid import intra_class_fid
from cgt_tf.metrics.intra_kid import intra_class_kid
from cgt_tf.metrics.kid import kernel_distance

NAMES = ("owl", "fox", "hen")
PAIRED = (intra_class_fid, intra_class_kid, intra_class_variance)
ALL = (*PAIRED, intra_class_diversity)


def labelled(seed, count=90, width=5):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % 3)
    return rng.normal(size=(count, width)) + 4 * labels[:, None], labels


def call(metric, features, labels, **options):
    if metric is intra_class_diversity:
        return metric(features, labels, **options)
    return metric(features, labels, features + 0.5, labels, **options)


@pytest.mark.parametrize(
    ("metric", "single"), [(intra_class_fid, frechet_distance), (intra_class_kid, kernel_distance)]
)
def test_each_class_is_scored_alone(metric, single):
    real, real_labels = labelled(0)
    fake, fake_labels = labelled(1, count=60)
    scores = metric(real, real_labels, fake, fake_labels, NAMES)
    assert tuple(scores.per_class) == NAMES
    for label, name in enumerate(NAMES):
        expected = single(real[real_labels == label], fake[fake_labels == label])
        assert scores.per_class[name] == pytest.approx(expected, rel=1e-12)
    assert scores.mean == pytest.approx(np.mean(list(scores.per_class.values())))


def test_swapped_classes_are_seen_that_a_score_over_all_images_misses():
    real, labels = labelled(2)
    fake_labels = (labels + 1) % 3
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-9)
    assert intra_class_fid(real, labels, real, fake_labels).mean > 10


def test_classes_without_names_are_their_numbers():
    real, labels = labelled(3)
    scores = intra_class_fid(real, labels + 7, real, labels + 7)
    assert tuple(scores.per_class) == ("7", "8", "9")


def test_diversity_is_the_mean_distance_of_two_images(monkeypatch):
    monkeypatch.setattr(distances, "BLOCK", 7)
    features, labels = labelled(4)
    scores = intra_class_diversity(features, labels, NAMES)
    members = features[labels == 1]
    pairs = [np.linalg.norm(x - y) for i, x in enumerate(members) for y in members[:i]]
    assert scores.per_class["fox"] == pytest.approx(np.mean(pairs), rel=1e-10)
    doubled = intra_class_diversity(2 * features, labels)
    assert doubled.mean == pytest.approx(2 * scores.mean)


def test_diversity_of_one_repeated_image_is_zero():
    features = np.repeat(np.random.default_rng(5).normal(100, 1, (2, 64)), 6, axis=0)
    scores = intra_class_diversity(features.astype(np.float32), np.repeat([0, 1], 6))
    assert scores.per_class == {"0": 0.0, "1": 0.0}


def test_variance_ratio_raises_the_alarm_for_the_class_that_collapsed():
    real, labels = labelled(6)
    fake, fake_labels = labelled(7, count=150)
    fake[fake_labels == 2] = fake[fake_labels == 2][0] + 0.1 * fake[fake_labels == 2]
    result = intra_class_variance(real, labels, fake, fake_labels, NAMES)
    for scores, rows, classes in ((result.real, real, labels), (result.fake, fake, fake_labels)):
        expected = rows[classes == 1].var(axis=0, ddof=1).mean()
        assert scores.per_class["fox"] == pytest.approx(expected, rel=1e-10)
    ratio = result.ratio.per_class
    assert ratio["hen"] < 0.02 and 0.5 < ratio["owl"] < 2 and 0.5 < ratio["fox"] < 2
    assert result.ratio.mean == pytest.approx(np.mean(list(ratio.values())))
    assert result.fake.per_class["owl"] / result.real.per_class["owl"] == ratio["owl"]


def test_a_generator_that_repeats_one_image_has_variance_zero():
    real, labels = labelled(8)
    fake = np.full(real.shape, 0.1, np.float32)
    assert intra_class_variance(real, labels, fake, labels).ratio.mean == 0.0


def test_accuracy_counts_each_class_alike():
    labels, predictions = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 9])
    scores = classification_accuracy(labels, predictions, ["owl", "fox"])
    assert scores.per_class == {"owl": 0.75, "fox": 0.5} and scores.mean == 0.625


def test_constant_real_features_have_no_variance_to_compare_with():
    real, labels = labelled(9)
    fake = real.copy()
    real[labels == 1] = 0.1
    with pytest.raises(InputError, match="differ within class 'fox', got constant"):
        intra_class_variance(real, labels, fake, labels, NAMES)


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("count", [0, 1])
def test_a_class_of_fewer_than_two_samples_is_named(metric, count):
    features, labels = labelled(10)
    kept = np.concatenate([np.flatnonzero(labels != 1), np.flatnonzero(labels == 1)[:count]])
    message = rf"at least 2 (real )?samples of class 'fox', got {count}"
    with pytest.raises(InputError, match=message):
        call(metric, features[kept], labels[kept], class_names=NAMES)
    if metric is not intra_class_diversity:
        message = rf"at least 2 generated samples of class '1', got {count}"
        with pytest.raises(InputError, match=message):
            metric(features, labels, features[kept], labels[kept])


def test_a_named_class_without_generated_labels_is_an_error_of_the_accuracy():
    with pytest.raises(InputError, match="generated samples of class 'fox', got none"):
        classification_accuracy(np.zeros(3, int), np.zeros(3, int), NAMES)


FEATURES, LABELS = labelled(11)


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize(
    ("features", "labels", "options", "message"),
    [
        (FEATURES[:1], LABELS[:1], {}, r"got shape \[1, 5\]"),
        (FEATURES[:0], LABELS[:0], {}, r"got shape \[0, 5\]"),
        (FEATURES * np.nan, LABELS, {}, "NaN or infinity in 90 of 90"),
        (FEATURES + np.inf, LABELS, {}, "NaN or infinity in 90 of 90"),
        (FEATURES * 1e200, LABELS, {}, "class '0': .* overflow"),
        (FEATURES, LABELS[:-1], {}, r"labels as integers \[90\], got int64 \[89\]"),
        (FEATURES, LABELS * 1.0, {}, r"integers \[90\], got float64"),
        (FEATURES, LABELS, {"class_names": NAMES[:2]}, r"labels in \[0, 1\] .*, got 0 to 2"),
        (FEATURES, LABELS, {"class_names": ["a", "b", "a"]}, "class names that differ"),
    ],
)
def test_degenerate_input_is_an_input_error(metric, features, labels, options, message):
    with pytest.raises(InputError, match=message) as raised:
        call(metric, features, labels, **options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("metric", PAIRED)
def test_other_widths_are_input_errors(metric):
    with pytest.raises(InputError, match="one width, got 5 and 4"):
        metric(FEATURES, LABELS, FEATURES[:, :4], LABELS)


@pytest.mark.parametrize(
    ("labels", "predictions"), [([], []), ([0, 1], [0]), ([0.0], [0]), ([0], ["a"]), ([[0]], [0])]
)
def test_labels_that_do_not_fit_are_input_errors(labels, predictions):
    with pytest.raises(InputError, match="labels as integers"):
        classification_accuracy(labels, predictions)
