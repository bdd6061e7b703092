"""The evaluation protocol: right numbers, and everything they depend on beside them."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from cgt_tf.errors import InputError
from cgt_tf.evaluation import frechet_distance, kernel_mmd
from cgt_tf.evaluation.features import FeatureNet, extract
from cgt_tf.evaluation.generate import generate_images
from cgt_tf.evaluation.protocol import Evaluator, format_table

NAMES = ("dark", "middle", "bright")


@dataclasses.dataclass(frozen=True)
class Images:
    images: np.ndarray
    name: str = "small reference"
    fingerprint: str = "abc123"


def brightness_net(class_names=NAMES):
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


def reference(count=50):
    return Images(np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3), np.uint8))


def make_evaluator(net=None, images=None, num_samples=40, **arguments):
    arguments = {"batch_size": 16, "reference_is_training": False, **arguments}
    return Evaluator(net or brightness_net(), images or reference(), num_samples, **arguments)


def evaluate(evaluator, sample_fn=sample, **arguments):
    defaults = {"checkpoint_step": 300, "bn_statistics": "standing"}
    return evaluator.evaluate(sample_fn, 2, 3, **{**defaults, **arguments})


def test_metrics_are_those_of_the_features():
    evaluator = make_evaluator(seed=5)
    result = evaluate(evaluator)
    fakes = [batch for batch, _ in generate_images(sample, 40, 2, 16, 5, 3)]
    real = extract(evaluator.feature_net, evaluator.reference.images)
    fake = extract(evaluator.feature_net, np.concatenate(fakes))
    assert result["metrics"] == {
        "fid": pytest.approx(frechet_distance(real, fake), rel=1e-6),
        "kmmd": pytest.approx(kernel_mmd(real, fake), rel=1e-6),
    }


def test_everything_the_numbers_depend_on_is_stored():
    result = evaluate(make_evaluator(seed=5), truncation=0.5)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["feature_net"] == {
        "name": "brightness",
        "fingerprint": "f" * 64,
        "resolution": 4,
        "dim": 3,
        "resize": "bilinear, antialiased when shrinking",
    }
    assert result["reference"] == {
        "name": "small reference",
        "fingerprint": "abc123",
        "is_training_images": False,
    }
    assert {key: result[key] for key in ("num_real", "num_fake", "checkpoint_step", "seed")} == {
        "num_real": 50,
        "num_fake": 40,
        "checkpoint_step": 300,
        "seed": 5,
    }
    assert (result["bn_statistics"], result["truncation"]) == ("standing", 0.5)
    assert result["labels"] == "balanced: label i of n is i mod K, K = 2"
    assert result["warnings"] == []


def test_equal_arguments_give_equal_results_and_truncation_matters():
    evaluator = make_evaluator()
    assert evaluate(evaluator) == evaluate(evaluator)
    assert evaluate(evaluator)["metrics"] == evaluate(make_evaluator(batch_size=7))["metrics"]
    assert evaluate(evaluator)["metrics"] != evaluate(evaluator, truncation=0.5)["metrics"]


def test_reference_features_are_computed_once():
    calls = []

    def function(images):
        tf.py_function(lambda: calls.append(1), [], [])
        return tf.reduce_mean(images, axis=(1, 2)), None

    net = FeatureNet("counting", 4, 3, "f" * 64, function)
    evaluator = make_evaluator(net, num_samples=16, batch_size=50)
    evaluate(evaluator)
    assert len(calls) == 2
    evaluate(evaluator)
    assert len(calls) == 3


def test_accuracy_matches_classes_by_name():
    large = make_evaluator(num_samples=2000, batch_size=500)
    result = evaluate(large, class_names=("middle", "bright"))
    accuracy = result["accuracy"]
    assert accuracy["per_class"]["middle"] == 1.0
    assert accuracy["per_class"]["bright"] == pytest.approx(0.75, abs=0.05)
    assert accuracy["overall"] == pytest.approx(np.mean(list(accuracy["per_class"].values())))
    swapped = evaluate(large, class_names=("bright", "middle"))
    assert swapped["accuracy"]["overall"] == 0.0


def test_accuracy_needs_names_that_the_net_knows():
    assert evaluate(make_evaluator())["accuracy"] is None
    nameless = evaluate(make_evaluator(brightness_net(())), class_names=("middle", "bright"))
    assert nameless["accuracy"] is None and nameless["warnings"] == []
    unknown = evaluate(make_evaluator(), class_names=("middle", "green"))
    assert unknown["accuracy"] is None
    assert unknown["warnings"] == [
        "no accuracy: brightness does not know 1 of the classes, such as 'green'"
    ]


def test_warns_of_few_images_and_of_training_images():
    few = make_evaluator(images=reference(3), num_samples=2, reference_is_training=True)
    result = evaluate(few)
    assert result["reference"]["is_training_images"] is True
    assert [text.split(":")[0:2] for text in result["warnings"][:2]] == [
        ["fid", " 3 real images for 3 features"],
        ["fid", " 2 generated images for 3 features"],
    ]
    assert "training images" in result["warnings"][2]
    only_kmmd = make_evaluator(images=reference(3), num_samples=2, metrics=("kmmd",))
    result = evaluate(only_kmmd)
    assert list(result["metrics"]) == ["kmmd"] and result["warnings"] == []


def test_table_shows_values_protocol_and_worst_class_first():
    evaluator = make_evaluator(images=reference(3), num_samples=200)
    result = evaluate(evaluator, class_names=("middle", "bright"))
    lines = format_table(result).splitlines()
    assert lines[0].split() == ["FID", f"{result['metrics']['fid']:.4f}"]
    assert lines[1].split() == ["KMMD", f"{result['metrics']['kmmd']:.4f}"]
    text = "\n".join(lines)
    for part in (
        "brightness, 3 at 4 px (bilinear",
        "3 images of small reference (held out)",
        "200 images, labels balanced",
        "truncation 1, seed 0",
        "step 300",
        "standing statistics",
        "warning: fid: 3 real images",
    ):
        assert part in text
    assert text.index("  bright") < text.index("  middle")
    assert "accuracy" not in format_table(evaluate(evaluator))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metrics": ("fid", "is")}, r"metrics out of \['fid', 'kmmd'\], got \['fid', 'is'\]"),
        ({"metrics": ()}, r"got \[\]"),
        ({"num_samples": 1}, "at least 2 generated samples, got 1"),
        ({"images": reference(1)}, "at least 2 reference images in small reference"),
        ({"images": Images(np.zeros((5, 4, 4)))}, r"uint8 \[n, H, W, 3\], got float64 \[5, 4, 4\]"),
    ],
)
def test_wrong_protocols_are_input_errors(arguments, message):
    with pytest.raises(InputError, match=message):
        make_evaluator(**arguments)


def test_whether_the_reference_was_trained_on_must_be_said():
    with pytest.raises(TypeError, match="reference_is_training"):
        Evaluator(brightness_net(), reference(), 40)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bn_statistics": "batch"}, r"out of \['running', 'standing'\], got 'batch'"),
        ({"class_names": ("middle",)}, "expected 2 class names, got 1"),
        ({"truncation": 2.0}, "truncation"),
        (
            {"sample_fn": lambda z, labels: tf.zeros([16, 8, 8, 3])},
            r"reference's size \[4, 4, 3\], got \[8, 8, 3\]",
        ),
    ],
)
def test_wrong_evaluations_are_input_errors(arguments, message):
    with pytest.raises(InputError, match=message):
        evaluate(make_evaluator(), **arguments)


def test_fewer_samples_than_classes_is_an_input_error():
    with pytest.raises(InputError, match="each of 41 classes, got 40 samples"):
        make_evaluator().evaluate(sample, 41, 3, checkpoint_step=0, bn_statistics="running")
