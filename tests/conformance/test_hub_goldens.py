"""The TF-Hub modules' images, against what the original public code made of the same weights."""

import functools
from pathlib import Path

import numpy as np
import pytest

from cgt_tf.formats import hub_module, verify
from cgt_tf.methods.propagation import create_transferred_generator
from cgt_tf.methods.registry import create_config
from cgt_tf.methods.transfer import transferred_spec
from cgt_tf.networks.extended import fold_together
from cgt_tf.runs.handles import load_source, read_source

GOLDENS = Path(__file__).parents[1] / "goldens"
KINDS = ("v1", "deep")
# The tolerance that the goldens' own description gives.
TOLERANCE = 1e-4


@functools.cache
def golden(kind):
    return dict(np.load(GOLDENS / f"hub_{kind}_tiny.npz"))


@functools.cache
def gan(kind):
    return load_source(f"tfhub:{GOLDENS}/hub_{kind}_tiny")


def images(generator, arrays, suffix, truncation=None):
    """The golden's samples by a generator, cropped as the golden is."""
    if truncation is None:
        truncation = float(arrays[f"truncation{suffix}"])
    labels = arrays[f"y{suffix}"].astype(np.int32)
    result = generator(arrays[f"z{suffix}"], labels, truncation=truncation)
    result = np.asarray(result[0] if isinstance(result, tuple) else result)
    if suffix:
        start, end = arrays["crop_b"]
        result = result[:, start:end, start:end]
    return result


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", ["", "_b"])
def test_images(kind, suffix):
    actual = images(gan(kind).generator, golden(kind), suffix)
    np.testing.assert_allclose(actual, golden(kind)[f"image{suffix}"], atol=TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", ["", "_b"])
def test_folded_images(kind, suffix):
    source = gan(kind)
    extended = fold_together([source.generator], [source.class_names])
    actual = images(extended, golden(kind), suffix)
    np.testing.assert_allclose(actual, golden(kind)[f"image{suffix}"], atol=TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
def test_the_statistics_belong_to_the_truncation(kind):
    wrong = images(gan(kind).generator, golden(kind), "_b", truncation=1.0)
    assert np.abs(wrong - golden(kind)["image_b"]).max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_new_classes_move_with_truncation_as_the_source_does(kind):
    """From whatever statistics a transfer has come to, which stay its own at full truncation."""
    source, config = gan(kind), create_config("cgan_transfer")
    spec = transferred_spec(source.spec, 2)
    new = create_transferred_generator(source, spec, config.cgan_transfer, config)
    for norm in (*new.conditional_norms(), new.output_norm):
        norm.moving_mean.assign(norm.moving_mean + 3.0)
        norm.moving_variance.assign(norm.moving_variance * 4.0)
    extended = fold_together([source.generator, new], [source.class_names, ["x", "y"]]).generator
    levels = len(source.spec.truncation_grid)
    pairs = zip(
        [*extended.conditional_norms(), extended.output_norm],
        [*new.conditional_norms(), new.output_norm],
        strict=True,
    )
    for norm, own in pairs:
        means, variances = (
            np.reshape(x, (2, levels, -1)) for x in (norm.moving_mean, norm.moving_variance)
        )
        np.testing.assert_allclose(means[1] - means[0], 3.0, rtol=1e-4)
        # Epsilon is part of the factor, which leaves 4 epsilon (v_last - v) / (v_last + epsilon).
        atol = 4 * norm.epsilon
        np.testing.assert_allclose(variances[1], 4 * variances[0], rtol=1e-4, atol=atol)
        np.testing.assert_array_equal(means[1, -1], own.moving_mean)
        np.testing.assert_array_equal(variances[1, -1], own.moving_variance)
        assert np.ptp(means[0], axis=0).max() > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_a_module_without_tables_has_truncation_1_and_says_so(kind, monkeypatch):
    monkeypatch.setattr(hub_module.Constants, "tables", lambda self: {})
    imported = read_source(f"tfhub:{GOLDENS}/hub_{kind}_tiny")
    assert imported.spec.truncation_grid == ()
    assert any("accumulated_*" in note and "--standing_stats" in note for note in imported.notes)
    actual = images(imported.generator, golden(kind), "")
    np.testing.assert_allclose(actual, golden(kind)["image"], atol=TOLERANCE)
    wrong = images(imported.generator, golden(kind), "_b")
    assert np.abs(wrong - golden(kind)["image_b"]).max() > 0.1


@pytest.mark.parametrize("kind", ["v1", pytest.param("deep", marks=pytest.mark.slow)])
def test_blocks_and_images_equal_the_modules_own_graph(kind):
    place = f"{GOLDENS}/hub_{kind}_tiny"
    found = verify.verify("tfhub", place, read_source(f"tfhub:{place}"), "ema", 1e-3)
    assert found.original == "the module's own graph"
    names = list(found.differences)
    blocks = len(gan(kind).generator.blocks)
    assert names == [*(f"block_{i}" for i in range(blocks)), "images"]
    # Rounding grows by a factor of a hundred on the way through the deep fixture.
    assert max(found.differences.values()) < 1e-3


@pytest.mark.parametrize("kind", ["v1", pytest.param("deep", marks=pytest.mark.slow)])
def test_verify_sees_a_wrong_weight(kind):
    place = f"{GOLDENS}/hub_{kind}_tiny"
    imported = read_source(f"tfhub:{place}")
    kernel = imported.generator.blocks[1].conv1.kernel
    kernel.assign(-kernel)
    differences = verify.verify("tfhub", place, imported, "ema", 1e-3).differences
    assert differences["block_0"] < 1e-4
    assert differences["block_1"] > 0.1
