"""Prints how often each source of a run of minegan is picked for each new class.

  python tools/selected_sources.py --workdir=runs/two_sources

Beside it stand the classes' relatives and their sources: the old classes whose real images have the
nearest mean features. They are a function of the images alone, whatever the run has learnt.
"""

import numpy as np
from absl import flags
from keras import ops

from cgt_tf.cli import common
from cgt_tf.data.image_set import ImageSet
from cgt_tf.data.sources import load_images
from cgt_tf.errors import InputError
from cgt_tf.features.extraction import Extractor
from cgt_tf.features.loading import load_feature_net
from cgt_tf.methods.registry import config_from_dict
from cgt_tf.runs.handles import load_source
from cgt_tf.runs.snapshots import open_snapshot

_WORKDIR = flags.DEFINE_string("workdir", None, "A run with several sources.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "last", "best, last or a step.")
_SAMPLES = flags.DEFINE_integer("samples", 500, "Latents of each class.", lower_bound=1)
_RELATIVES = flags.DEFINE_integer("relatives", 5, "Old classes of each new one.", lower_bound=1)
_OLD_IMAGES = flags.DEFINE_string("old_images", "bundled:glyphs/source", "Data spec of theirs.")
_IMAGES = flags.DEFINE_integer("images", 100, "Of each class that are compared.", lower_bound=1)
_FEATURES = flags.DEFINE_string("features", "bundled:glyph_classifier", "Feature network.")


def picks(generator, label: int, count: int) -> np.ndarray:
    """Share of each member [n] in the latents of a label."""
    spec = generator.spec
    z = np.random.default_rng(0).normal(size=(count, spec.dim_z)).astype(np.float32)
    weights = np.eye(spec.num_classes, dtype=np.float32)[np.full(count, label)]
    return ops.convert_to_numpy(generator.selector(z, weights)).mean(axis=0)


def mean_features(extractor: Extractor, images: ImageSet, count: int) -> np.ndarray:
    """Of the first images of each class, [K, dim]."""
    means = []
    for label in range(images.num_classes):
        chosen = images.images[images.labels == label][:count]
        means.append(extractor(chosen, images.class_names[label]).features.mean(axis=0))
    return np.stack(means)


def main(argv):
    common.no_arguments(argv)
    common.require(_WORKDIR.value, "--workdir", "a run with several sources")
    snapshot = open_snapshot(_WORKDIR.value, _CHECKPOINT.value)
    if snapshot.gan.spec.wrapper != "selected":
        raise InputError(f"expected a run with several sources, got none in {_WORKDIR.value}")
    config, generator = config_from_dict(snapshot.run.config()), snapshot.gan.generator
    sources = [load_source(handle).class_names for handle in config.minegan.sources]
    owner = {name: i for i, names in enumerate(sources) for name in names}
    size = snapshot.gan.spec.resolution
    old = load_images(_OLD_IMAGES.value, resolution=size, classes=tuple(owner))
    new = load_images(
        config.data.train,
        resolution=size,
        classes=snapshot.new_classes,
        images_per_class=config.data.images_per_class,
        seed=config.seed,
    )
    extractor = Extractor(load_feature_net(_FEATURES.value))
    theirs, ours = (mean_features(extractor, images, _IMAGES.value) for images in (old, new))
    agree, most = 0, np.zeros(len(sources), int)
    for label, name in enumerate(snapshot.new_classes):
        distances = np.linalg.norm(theirs - ours[label], axis=1)
        relatives = [old.class_names[i] for i in np.argsort(distances)[: _RELATIVES.value]]
        homes = np.bincount([owner[x] for x in relatives], minlength=len(sources))
        shares = picks(generator, label, _SAMPLES.value)
        agree += int(homes[shares.argmax()] == homes.max())
        most += homes == homes.max()
        shown = " ".join(f"{share:.2f}" for share in shares)
        near = " ".join(f"{x}({owner[x]})" for x in relatives)
        counts = " ".join(map(str, homes))
        print(f"{name}: picked {shown}; relatives by source {counts}: {near}")
    print(
        f"in {agree} of {len(ours)} classes the source that is picked most has most of the "
        f"relatives, or as many; one and the same source for all would, at best, in {most.max()}; "
        f"sources: {', '.join(config.minegan.sources)}"
    )


if __name__ == "__main__":
    common.run(main, "selected_sources", __doc__)
