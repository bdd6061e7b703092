"""Source handles."""

import functools

import numpy as np
import pytest

import cgt_tf
from cgt_tf.errors import InputError
from cgt_tf.formats import native
from cgt_tf.formats.native import save_model
from cgt_tf.networks.gan import Gan, create_gan
from cgt_tf.networks.spec import biggan_spec
from cgt_tf.runs import handles


@functools.cache
def tiny_gan(classes=3, resolution=32, d_width=4):
    blocks = {32: 3, 64: 4}[resolution]
    changes = {"hierarchical": False, "shared_dim": 0, "dim_z": 8}
    changes.update(g_widths=(4,) * (blocks + 1), d_widths=(d_width,) * 3, d_halvings=2)
    changes.update(g_attention=(), d_attention=())
    return create_gan(
        biggan_spec(resolution, classes, **changes), [f"class{i}" for i in range(classes)]
    )


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def saved(models, name, gan):
    if not (models / name).exists():
        save_model(gan, models / name, {})
    return f"model:{models / name}"


def test_model_handle(models):
    gan = cgt_tf.load_source(saved(models, "plain", tiny_gan()), bn_eps=1e-3, sn_eps=1e-2)
    assert (gan.spec.bn_eps, gan.spec.sn_eps) == (1e-3, 1e-2)
    np.testing.assert_array_equal(gan.generator.linear.kernel, tiny_gan().generator.linear.kernel)


def test_discriminator_of_another_model(models):
    """The networks' shapes come along; generator and class names stay the first model's."""
    first, second = tiny_gan(), tiny_gan(d_width=8)
    gan = handles.load_source(
        saved(models, "plain", first), discriminator=saved(models, "wide", second)
    )
    assert gan.spec.d_widths == gan.discriminator.spec.d_widths == (8, 8, 8)
    assert gan.spec.g_widths == first.spec.g_widths
    np.testing.assert_array_equal(gan.generator.linear.kernel, first.generator.linear.kernel)
    kernel = second.discriminator.linear.kernel
    np.testing.assert_array_equal(gan.discriminator.linear.kernel, kernel)


def test_discriminator_of_other_class_count(models):
    handle = saved(models, "plain", tiny_gan())
    other = saved(models, "five", tiny_gan(classes=5))
    with pytest.raises(InputError, match=r"discriminator with num_classes 3 .* got 5 from model:"):
        handles.load_source(handle, discriminator=other)


def test_discriminator_of_other_resolution(models):
    handle = saved(models, "plain", tiny_gan())
    other = saved(models, "large", tiny_gan(resolution=64))
    with pytest.raises(InputError, match=r"discriminator with resolution 32 .* got 64 from model:"):
        handles.load_source(handle, discriminator=other)


def test_discriminator_that_is_not_there(models):
    gan = tiny_gan()
    handle = saved(models, "plain", gan)
    other = saved(models, "alone", Gan(gan.spec, gan.generator, None, gan.class_names))
    with pytest.raises(InputError, match=r"expected a discriminator at model:.*alone, found none"):
        handles.load_source(handle, discriminator=other)


@pytest.mark.parametrize("handle", ["", "glyphs32", "bundled:", "model:", "ftp:somewhere", ":x"])
def test_unknown_kind(handle):
    with pytest.raises(InputError) as error:
        handles.load_source(handle)
    message = (
        "expected a source bundled:<name>, tfhub:<handle or dir>, pth:<file>, model:<dir> or "
        "run:<dir>, got"
    )
    assert str(error.value) == f"{message} {handle!r}"


def test_unknown_bundled_name_lists_what_there_is(tmp_path, monkeypatch):
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "spec.json").write_text("{}")
    monkeypatch.setattr(native, "_BUNDLED", tmp_path)
    with pytest.raises(InputError, match="with a name of a, b, got 'zebras'"):
        handles.load_source("bundled:zebras")


def test_bundled_handle(models, monkeypatch):
    saved(models, "plain", tiny_gan())
    monkeypatch.setattr(native, "_BUNDLED", models)
    gan = handles.load_source("bundled:plain")
    np.testing.assert_array_equal(gan.generator.linear.kernel, tiny_gan().generator.linear.kernel)


def test_missing_model_directory(tmp_path):
    with pytest.raises(InputError, match=r"expected a model directory with spec\.json"):
        handles.load_source(f"model:{tmp_path / 'nothing'}")
