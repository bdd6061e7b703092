"""The evaluator: right numbers, and everything they depend on beside them."""

import dataclasses
import json
import sys
import types

import numpy as np
import pytest
import tensorflow as tf

from cgt_tf.data.image_set import ImageSet
from cgt_tf.errors import InputError
from cgt_tf.features.extraction import Extractor
from cgt_tf.features.feature_net import FeatureNet
from cgt_tf.methods.registry import create_config, validate
from cgt_tf.metrics.fid import frechet_distance
from cgt_tf.metrics.inception_score import inception_score
from cgt_tf.metrics.intra_cluster import intra_cluster_diversity
from cgt_tf.metrics.intra_fid import intra_class_fid
from cgt_tf.metrics.kid import kernel_distance
from cgt_tf.metrics.kmmd import kernel_mmd
from cgt_tf.metrics.metric import HIGHER, Found, Metric
from cgt_tf.metrics.prdc import prdc
from cgt_tf.metrics.ranking import ranked
from cgt_tf.metrics.registry import METRICS
from cgt_tf.scoring.evaluator import Evaluator
from cgt_tf.scoring.protocols import TABLE, Protocol
from cgt_tf.scoring.report import format_table
from cgt_tf.scoring.samples import GivenImages, canonical_order

NAMES = ("middle", "bright")
LEVELS = ("dark", "middle", "bright")
ALL = tuple(METRICS)


def brightness_net(class_names=LEVELS):
    """Features: mean colour. Logits: nearest of three grey levels."""

    def function(images):
        colour = tf.reduce_mean(images, axis=(1, 2))
        levels = tf.constant([-0.8, 0.0, 0.8])
        return colour, -tf.abs(tf.reduce_mean(colour, axis=1, keepdims=True) - levels)

    return FeatureNet("brightness", 4, 3, "f" * 64, function, class_names)


def sample(z, labels):
    """Class 0 is middle grey; class 1 is bright, but dark for a quarter of the latents."""
    bright = tf.where(z[:, 0] > -0.6745, 0.8, -0.8)
    level = tf.where(labels == 0, 0.0, bright)[:, None, None, None]
    return tf.clip_by_value(level + 0.05 * z[:, None, None, :] * tf.ones([1, 4, 4, 1]), -1, 1)


def reference(counts=(25, 25), names=NAMES, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    images = rng.integers(0, 256, (len(labels), 4, 4, 3), np.uint8)
    return ImageSet(images, labels, names, "small reference")


@pytest.fixture
def make(tmp_path):
    def evaluator(num_samples=40, **arguments):
        protocol = Protocol(name="test", num_samples=num_samples, reference="any")
        changes = {k: arguments.pop(k) for k in ("labels", "truncation") if k in arguments}
        defaults = {
            "feature_net": brightness_net(),
            "reference": reference(),
            "protocol": dataclasses.replace(protocol, **changes),
            "metrics": ("fid", "kmmd"),
            "reference_split": "heldout",
            "batch_size": 16,
            "cache_dir": str(tmp_path),
        }
        return Evaluator(**{**defaults, **arguments})

    return evaluator


def score(evaluator, sample_fn=sample, names=NAMES, **arguments):
    return evaluator.score(evaluator.draw(sample_fn, 3, names), "a generator", **arguments)


def features_and_labels(evaluator):
    """Features and labels of the generated images, in the order that metrics see."""
    samples = evaluator.draw(sample, 3, NAMES)
    order = canonical_order(samples.labels, NAMES)
    outputs = Extractor(evaluator.feature_net)(np.concatenate(list(samples)))[order]
    return outputs, samples.labels[order]


def test_metrics_are_those_of_the_features(make):
    evaluator = make(seed=5, metrics=("fid", "kmmd", "kid", "is", "prdc", "intra_fid"))
    evaluation = score(evaluator)
    result = evaluation
    real = Extractor(evaluator.feature_net)(evaluator.reference.images).features
    outputs, labels = features_and_labels(evaluator)
    fake = outputs.features
    assert result.metrics["fid"] == pytest.approx(frechet_distance(real, fake), rel=1e-6)
    assert result.metrics["kmmd"] == pytest.approx(kernel_mmd(real, fake), rel=1e-6)
    assert result.metrics["kid"] == pytest.approx(kernel_distance(real, fake), rel=1e-6)
    assert result.metrics["kid_standard_error"] > 0
    probabilities = tf.nn.softmax(outputs.logits).numpy()
    mean, deviation = inception_score(probabilities, 10)
    assert result.metrics["is"] == pytest.approx(mean, rel=1e-6)
    assert result.metrics["is_std"] == pytest.approx(deviation, rel=1e-4)
    for name, value in prdc(real, fake, 5).items():
        assert result.metrics[name] == value
    scores = intra_class_fid(real, evaluator.reference.labels, fake, labels, NAMES)
    assert result.metrics["intra_fid"] == pytest.approx(scores.mean, rel=1e-6)
    assert result.per_class["intra_fid"] == pytest.approx(scores.per_class, rel=1e-6)


def test_every_metric_of_the_config_is_measured(make):
    evaluator = make(metrics=ALL, training_images=reference(seed=1))
    evaluation = score(evaluator)
    numbers = evaluation.metrics
    assert set(numbers) == {
        *("fid", "fid_infinity", "kmmd", "kid", "kid_standard_error", "is", "is_std"),
        *("precision", "recall", "density", "coverage", "intra_fid", "intra_kid"),
        *(
            "mind",
            "intra_cluster",
            "intra_cluster_balanced",
            "intra_cluster_filled",
            "fld",
            "fld_gap",
            "fld_gap_error",
        ),
        *("diversity", "diversity_of_real", "variance_ratio", "accuracy"),
        *("nearest", "nearest_of_heldout", "nearer_than_heldout"),
    }
    assert all(np.isfinite(value) for value in numbers.values())
    for metric in METRICS:
        training = reference(seed=1) if metric == "fld" else None
        assert score(make(metrics=(metric,), training_images=training)).metrics, metric


def test_a_new_metric_is_a_module_and_a_line_of_the_registry(make, monkeypatch):
    """It declares all that others need to know; nothing else names it."""

    def compute(images):
        spread = float(np.std(images.fake.features))
        return Found({"spread": spread, "spread_error": 0.5}, warnings=("spread: a toy",))

    module = types.ModuleType("toy_metric")
    module.METRIC = Metric(compute, better={"spread": HIGHER}, unasked=True)
    monkeypatch.setitem(sys.modules, "toy_metric", module)
    asked = make(metrics=("kmmd",))
    assert "spread" not in score(asked).metrics
    monkeypatch.setitem(METRICS, "toy", "toy_metric")
    result = score(asked)
    assert list(result.metrics) == ["kmmd", "accuracy", "spread", "spread_error"]
    assert result.warnings == ("spread: a toy",)
    assert "warning: spread: a toy" in format_table(result)
    assert ranked("spread", {1: 0.1, 2: 0.3}) == [2, 1]
    config = create_config()
    config.evaluation.metrics, config.evaluation.best = ("toy",), "spread"
    validate(config)
    module.METRIC = dataclasses.replace(module.METRIC, needs_training=True)
    with pytest.raises(InputError, match="for the metric toy, got small reference"):
        make(metrics=("toy",))


def test_everything_the_numbers_depend_on_is_stored(make):
    evaluator = make(seed=5, truncation=0.5)
    result = score(evaluator, checkpoint_step=300).to_json()
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["features"] == {
        "name": "brightness",
        "fingerprint": "f" * 64,
        "resolution": 4,
        "dim": 3,
        "resize": "bilinear, antialiased when shrinking",
        "heldout_accuracy": None,
    }
    assert result["reference"] == {
        "name": "small reference",
        "fingerprint": evaluator.reference.fingerprint,
        "split": "heldout",
    }
    expected = {
        "protocol": "test",
        "samples": "a generator",
        "checkpoint_step": 300,
        "num_real": 50,
        "num_fake": 40,
        "num_kmmd": 40,
        "seed": 5,
        "bn_statistics": "running",
        "standing_batches": 0,
        "truncation": 0.5,
        "labels": "uniform: label i of n is i mod K, K = 2",
        "warnings": [],
    }
    assert {key: result[key] for key in expected} == expected


def test_facts_replace_entries(make):
    result = score(make(), truncation=None, bn_statistics="as exported")
    assert (result.truncation, result.bn_statistics) == (None, "as exported")


def test_standing_statistics_are_stored_with_their_batches(make):
    evaluator = make()
    evaluator.protocol = dataclasses.replace(evaluator.protocol, standing_batches=16)
    result = score(evaluator)
    assert (result.bn_statistics, result.standing_batches) == ("standing", 16)
    assert "standing statistics of 16 batches" in format_table(result)


def test_equal_arguments_give_equal_results_and_the_protocol_matters(make):
    evaluator = make()
    result = score(evaluator)
    assert score(evaluator).to_json() == result.to_json()
    assert score(make(batch_size=7)).metrics == pytest.approx(result.metrics)
    for change in ({"truncation": 0.5}, {"seed": 1}, {"num_samples": 30}):
        assert score(make(**change)).metrics != result.metrics


def test_labels_as_data_follow_the_reference(make):
    evaluator = make(reference=reference((30, 10)), labels="as_data", num_samples=200)
    samples = evaluator.draw(sample, 3, NAMES)
    np.testing.assert_array_equal(np.bincount(samples.labels), [150, 50])
    swapped = evaluator.draw(sample, 3, NAMES[::-1])
    np.testing.assert_array_equal(np.bincount(swapped.labels), [50, 150])
    with pytest.raises(InputError, match="small reference has none of 'green'"):
        evaluator.draw(sample, 3, ("middle", "green"))


def test_kmmd_counts_the_first_samples_of_a_fair_order(make):
    evaluator = make(num_samples=40)
    evaluator.protocol = dataclasses.replace(evaluator.protocol, kmmd_samples=10)
    result = score(evaluator)
    real = Extractor(evaluator.feature_net)(evaluator.reference.images).features
    outputs, labels = features_and_labels(evaluator)
    np.testing.assert_array_equal(np.bincount(labels[:10]), [5, 5])
    expected = kernel_mmd(real, outputs.features[:10])
    assert result.metrics["kmmd"] == pytest.approx(expected, rel=1e-6)
    assert result.num_kmmd == 10 and "10 of them for kmmd" in format_table(result)


def test_given_images_score_what_the_generator_scores_whatever_their_class_order(make):
    """Class folders list their classes one after another, by name."""
    metrics = tuple(m for m in ALL if m != "accuracy")
    evaluator = make(metrics=metrics, num_samples=45, training_images=reference(seed=1))
    drawn = evaluator.draw(sample, 3, NAMES)
    images = np.concatenate(list(drawn))
    labels = 1 - drawn.labels
    order = np.argsort(labels, kind="stable")
    folder = ImageSet(images[order], labels[order].astype(np.int32), NAMES[::-1], "folder")
    given = evaluator.score(GivenImages(folder), "folder")
    assert given.metrics == pytest.approx(score(evaluator).metrics, rel=1e-9, abs=1e-12)
    per_class = score(evaluator).per_class
    for metric, values in given.per_class.items():
        assert values == pytest.approx(per_class[metric], rel=1e-9)


def test_reference_features_are_computed_once_and_cached(make):
    calls = []

    def function(images):
        tf.py_function(lambda: calls.append(1), [], [])
        return tf.reduce_mean(images, axis=(1, 2)), None

    net = FeatureNet("counting", 4, 3, "e" * 64, function)
    evaluator = make(16, feature_net=net, batch_size=50)
    first = score(evaluator).metrics
    assert len(calls) == 2
    score(evaluator)
    assert len(calls) == 3
    again = make(16, feature_net=net, batch_size=50)
    assert score(again).metrics == first
    assert len(calls) == 4


def test_accuracy_matches_classes_by_name(make):
    large = make(2000, batch_size=500)
    evaluation = score(large)
    per_class = evaluation.per_class["accuracy"]
    assert per_class["middle"] == 1.0
    assert per_class["bright"] == pytest.approx(0.75, abs=0.05)
    assert evaluation.metrics["accuracy"] == pytest.approx(np.mean(list(per_class.values())))
    swapped = score(large, names=NAMES[::-1])
    assert swapped.metrics["accuracy"] == 0.0


def test_accuracy_needs_names_that_the_net_knows(make):
    nameless = score(make(feature_net=brightness_net(())))
    assert "accuracy" not in nameless.metrics and nameless.warnings == ()
    unknown = score(make(), names=("middle", "green"))
    assert "accuracy" not in unknown.metrics
    assert unknown.warnings == (
        "no accuracy: brightness does not know 1 of the classes, such as 'green'",
    )
    with pytest.raises(InputError, match=r"knows the class 'middle' .* for the metric accuracy"):
        score(make(metrics=("accuracy",)), names=("middle", "green"))


def test_copies_of_training_images_are_found_and_shown(make):
    training = reference(seed=1)
    evaluator = make(metrics=("nearest",), training_images=training)
    copies = GivenImages(ImageSet(training.images, training.labels, NAMES, "copies"))
    evaluation = evaluator.score(copies, "copies")
    assert evaluation.metrics["nearest"] == 0
    assert evaluation.metrics["nearer_than_heldout"] == 1
    assert evaluation.metrics["nearest_of_heldout"] > 0
    assert evaluation.picture.mode == "RGB" and evaluation.picture.width > 5 * 4
    fresh = evaluator.score(GivenImages(reference(seed=2)), "fresh")
    assert fresh.metrics["nearer_than_heldout"] == pytest.approx(0.5, abs=0.2)
    assert score(make()).picture is None


def test_likelihood_needs_held_out_images_beside_training_images(make):
    for arguments in (
        {"reference_split": "train", "training_images": reference()},
        {"reference_split": "heldout"},
        {"reference_split": "given"},
    ):
        message = rf"held-out images .* got small reference \({arguments['reference_split']}\)"
        with pytest.raises(InputError, match=message):
            make(metrics=("fid", "fld"), **arguments)


def test_clusters_are_those_of_the_training_images(make):
    training = reference((10, 10), seed=1)
    around = make(metrics=("intra_cluster",), training_images=training)
    features = Extractor(around.feature_net)(training.images).features
    fake = features_and_labels(around)[0].features
    expected = intra_cluster_diversity(features, fake)
    assert score(around).metrics["intra_cluster"] == pytest.approx(expected.mean, rel=1e-6)
    assert score(make(metrics=("intra_cluster",))).metrics["intra_cluster"] != expected.mean


def test_warns_of_few_images_and_of_training_images(make):
    few = make(2, reference=reference((2, 1)), reference_split="train")
    result = score(few)
    assert result.reference.split == "train"
    assert [text.split(":")[0:2] for text in result.warnings[:2]] == [
        ["fid", " 3 real images for 3 features"],
        ["fid", " 2 generated images for 3 features"],
    ]
    assert "copying them would score best" in result.warnings[2]
    only_kmmd = score(make(2, reference=reference((2, 1)), metrics=("kmmd",)))
    assert "kmmd" in only_kmmd.metrics and only_kmmd.warnings == ()


def test_warns_where_held_out_images_are_missing_and_of_the_paper_protocol(make):
    evaluator = make(reference_split="train")
    evaluator.protocol = dataclasses.replace(evaluator.protocol, name="run", base="run")
    assert "no held-out images" in " ".join(score(evaluator).warnings)
    evaluator.protocol = TABLE["paper"].changed(num_samples=40)
    warnings = " ".join(score(evaluator).warnings)
    assert "published numbers are of Inception features, not of brightness" in warnings
    assert "no held-out images" not in warnings


def test_table_shows_values_protocol_and_worst_class_first(make):
    evaluator = make(200, reference=reference((2, 1)))
    result = score(evaluator, checkpoint_step=300)
    lines = format_table(result).splitlines()
    assert lines[0].split() == ["fid", f"{result.metrics['fid']:.4f}"]
    assert lines[1].split() == ["kmmd", f"{result.metrics['kmmd']:.4f}"]
    text = "\n".join(lines)
    for part in (
        "protocol   test",
        "brightness, 3 at 4 px (bilinear",
        "3 images of small reference",
        "held out, fingerprint",
        "200 images of a generator",
        "labels uniform",
        "truncation 1, seed 0",
        "step 300",
        "running statistics",
        "warning: fid: 3 real images",
    ):
        assert part in text
    assert text.index("  bright") < text.index("  middle")
    without = score(make(feature_net=brightness_net(())), checkpoint_step=1)
    assert "accuracy" not in format_table(without)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics": ("fid", "psnr")}, "a metric out of fid, .* got 'psnr'"),
        ({"metrics": ()}, "at least one metric, got none"),
        ({"reference": reference((1,), ("a",))}, "at least 2 reference images in small reference"),
        ({"reference_split": "test"}, "reference out of .* got 'test'"),
    ],
)
def test_wrong_evaluators_are_input_errors(make, arguments, message):
    with pytest.raises(InputError, match=message):
        make(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics": ("prdc",), "num_samples": 4}, "expected k in"),
        ({"metrics": ("is",), "num_samples": 3}, "at least 4 scored images"),
        ({"metrics": ("intra_fid",), "num_samples": 3}, "at least 2 generated samples of class"),
        (
            {"metrics": ("intra_fid",), "reference": reference((9,), ("middle",))},
            "none of 'bright'",
        ),
        ({"metrics": ("fid_infinity",), "num_samples": 8}, "at least 3 points"),
        ({"num_samples": 2, "names": ("a", "b", "c")}, "each of 3 classes, got 2 samples"),
    ],
)
def test_too_few_images_are_input_errors(make, arguments, message):
    names = arguments.get("names", NAMES)
    with pytest.raises(InputError, match=message):
        score(make(**{k: v for k, v in arguments.items() if k != "names"}), names=names)


def test_images_of_another_size_and_networks_without_logits_are_input_errors(make):
    with pytest.raises(InputError, match=r"reference's size \[4, 4, 3\], got \[8, 8, 3\]"):
        score(make(), lambda z, labels: tf.zeros([16, 8, 8, 3]))
    net = FeatureNet("plain", 4, 3, "d" * 64, lambda x: (tf.reduce_mean(x, axis=(1, 2)), None))
    with pytest.raises(InputError, match="with class logits for the metric is"):
        score(make(feature_net=net, metrics=("is",)))


def test_the_split_of_the_reference_must_be_said():
    with pytest.raises(TypeError, match="reference_split"):
        Evaluator(brightness_net(), reference(), TABLE["paper"], ("fid",))


def test_what_was_begun_is_measured_without_a_network(make):
    """So that a thread may, while the generator goes on."""
    evaluator = make(
        metrics=("fid", "fld", "nearest", "intra_cluster"),
        training_images=reference(seed=1),
        reference=reference(seed=2),
    )
    live = [True]

    def once(function):
        def call(*arguments):
            assert live[0], "a network was called"
            return function(*arguments)

        return call

    net = evaluator.feature_net
    expected = score(evaluator).metrics
    evaluator = dataclasses.replace(
        evaluator,
        feature_net=dataclasses.replace(net, function=once(net.function)),
        cache_dir=evaluator.cache_dir + "/other",
    )
    measure = evaluator.begin(evaluator.draw(once(sample), 3, NAMES))
    live[0] = False
    assert measure() == expected


def test_a_metric_that_cannot_be_had_is_an_error_before_images_are_drawn(make):
    evaluator = make(metrics=("accuracy",), feature_net=brightness_net(()))

    def sample_fn(z, labels):
        raise AssertionError("drawn")

    with pytest.raises(InputError, match="for the metric accuracy"):
        evaluator.begin(evaluator.draw(sample_fn, 3, NAMES))
