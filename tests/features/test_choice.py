"""Which feature network scores which images: `auto`, and glyph features on other images."""

import pytest

from cgt_tf.errors import InputError
from cgt_tf.features import choice
from cgt_tf.features.choice import NoFeaturesError, load_features
from cgt_tf.features.loading import bundled_class_names

GLYPHS, PHOTOGRAPHS = "bundled:glyph_classifier", "bundled:cifar_classifier"


@pytest.fixture
def loaded(monkeypatch):
    """Handles that were loaded; Inception cannot be had."""
    handles = []

    def load(handle, strategy=None):
        if handle == "inception":
            raise InputError("no network")
        handles.append(handle)
        return handle

    monkeypatch.setattr(choice, "load_feature_net", load)
    return handles


@pytest.mark.parametrize(
    ("names", "resolution", "expected"),
    [
        (("Ö", "Ж"), 32, GLYPHS),
        (("Ö", "Ж"), 64, GLYPHS),
        (("apple", "wolf"), 32, PHOTOGRAPHS),
        (("apple", "wolf"), 64, PHOTOGRAPHS),
        (("labrador", "trolleybus"), 32, PHOTOGRAPHS),
        (("all",), 32, PHOTOGRAPHS),
    ],
)
def test_auto_takes_the_bundled_classifier_that_fits(names, resolution, expected, loaded):
    assert load_features("auto", names, resolution) == expected
    assert loaded == [expected]


def test_auto_without_anything_that_fits_says_what_comes_first(loaded):
    with pytest.raises(NoFeaturesError, match=r"cgt-features --data=.*Inception: no network") as e:
        load_features("auto", ("labrador",), 64)
    assert not loaded and "\n" not in str(e.value)


def test_auto_takes_inception_where_it_can_be_had(monkeypatch):
    monkeypatch.setattr(choice, "load_feature_net", lambda handle, strategy=None: handle)
    assert load_features("auto", ("labrador",), 64) == "inception"


def test_glyph_features_on_photographs_are_refused_unless_forced(loaded):
    with pytest.raises(InputError, match=r"'labrador' and 1 other.*none of which"):
        load_features(GLYPHS, ("labrador", "trolleybus"), 32)
    assert load_features(GLYPHS, ("labrador", "trolleybus"), 32, force=True) == GLYPHS


@pytest.mark.parametrize("names", [("Ö", "my own letter"), ("all",), ("images",)])
def test_glyph_features_on_what_may_be_glyphs(names, loaded):
    assert load_features(GLYPHS, names, 32) == GLYPHS


def test_bundled_classifiers_name_their_classes():
    assert {"Ö", "Ж"} <= set(bundled_class_names(GLYPHS))
    names = bundled_class_names(PHOTOGRAPHS)
    assert len(names) == 100 and {"apple", "wolf"} <= set(names)
    with pytest.raises(InputError, match="'bundled:', got 'other'"):
        bundled_class_names("bundled:other")
