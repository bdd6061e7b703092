"""A generator that replays its training images is found out, on real features of real images."""

import pytest

from cgt_tf.data.sources import load_images
from cgt_tf.features.loading import load_feature_net
from cgt_tf.scoring.evaluator import Evaluator
from cgt_tf.scoring.protocols import Protocol
from cgt_tf.scoring.report import format_table
from cgt_tf.scoring.samples import GivenImages

NAMES = ("Ö", "É", "Ñ", "Å", "Š")
TRAINED, IMAGES = 30, 60  # a class


@pytest.fixture(scope="module")
def glyphs():
    """Training images, as many others of the same kind twice over, and held-out ones."""
    options = {"resolution": 32, "classes": NAMES}
    drawn = load_images("bundled:glyphs/target", images_per_class=IMAGES + TRAINED, **options)
    held = load_images("bundled:glyphs/target", split="test", images_per_class=IMAGES, **options)
    rank = [list(drawn.labels[:i]).count(label) for i, label in enumerate(drawn.labels)]
    parts = {"training": [], "fresh": []}
    for position, place in enumerate(rank):
        parts["training" if place < TRAINED else "fresh"].append(position)
    return {"heldout": held, **{k: drawn.subset(v, k) for k, v in parts.items()}}


@pytest.fixture(scope="module")
def evaluator(glyphs, tmp_path_factory):
    return Evaluator(
        load_feature_net("bundled:glyph_classifier"),
        glyphs["heldout"],
        Protocol(name="test", num_samples=300, reference="heldout"),
        ("mind", "intra_cluster", "fld"),
        reference_split="heldout",
        training_images=glyphs["training"],
        cache_dir=str(tmp_path_factory.mktemp("cache")),
    )


def test_replayed_training_images_are_flagged(evaluator, glyphs):
    twice = sorted([*range(len(glyphs["training"]))] * 2)
    replayed = evaluator.score(GivenImages(glyphs["training"].subset(twice, "twice")), "replay")
    scores = replayed.metrics
    assert scores["intra_cluster"] == scores["intra_cluster_balanced"] == 0.0
    assert scores["fld"] > 1000 and scores["fld_gap"] < -1000
    assert any(text.startswith("copying: ") for text in replayed.warnings)
    assert "warning: copying: " in format_table(replayed)


def test_fresh_images_are_not(evaluator, glyphs):
    honest = evaluator.score(GivenImages(glyphs["fresh"]), "fresh")
    scores = honest.metrics
    assert scores["intra_cluster"] > scores["intra_cluster_balanced"] > 0.0
    assert abs(scores["fld"]) < 100 and scores["fld_gap"] > -20
    assert not [text for text in honest.warnings if "copying" in text]
