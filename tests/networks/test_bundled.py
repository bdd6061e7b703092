"""The sources that come with the package: what they hold, and that their classes differ."""

import numpy as np
import pytest

from cgt_tf.features.extraction import Extractor
from cgt_tf.features.loading import load_feature_net
from cgt_tf.runs.handles import load_source

SAMPLES = 4


@pytest.mark.parametrize(
    ("handle", "features", "share"),
    [
        ("bundled:glyphs32", "bundled:glyph_classifier", 0.9),
        # A photograph of 32 pixels is hard to name: 60 % of the real ones are.
        ("bundled:cifar80", "bundled:cifar_classifier", 0.3),
    ],
)
def test_samples_are_taken_for_their_classes(handle, features, share):
    gan = load_source(handle)
    assert len(gan.class_names) == gan.spec.num_classes == 80
    assert gan.discriminator.num_classes == 80
    labels = np.repeat(np.arange(80), SAMPLES).astype(np.int32)
    z = np.random.default_rng(0).normal(size=(len(labels), gan.spec.dim_z)).astype(np.float32)
    images = np.concatenate(
        [np.asarray(gan.generator(z[i : i + 80], labels[i : i + 80])[0]) for i in range(0, 320, 80)]
    )
    assert np.abs(images).max() <= 1
    net = load_feature_net(features)
    logits = Extractor(net, 80)(((images + 1) * 127.5).round().astype(np.uint8)).logits
    named = [net.class_names[i] for i in logits.argmax(axis=1)]
    wanted = [gan.class_names[label] for label in labels]
    assert np.mean([a == b for a, b in zip(named, wanted, strict=True)]) >= share
