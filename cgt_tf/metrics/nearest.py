"""How near generated images come to real ones; `scoring` draws a picture of the nearest."""

from cgt_tf.metrics.metric import Comparison, Found, Metric
from cgt_tf.metrics.neighbours import memorisation


def _compute(images: Comparison) -> Found:
    """Against the training images, where they are known: are generated images copies?"""
    if images.training is None:
        found = memorisation(images.real.features, images.fake.features)
        return Found({"nearest": found.median}, details=found)
    found = memorisation(images.training(), images.fake.features, images.real.features)
    scalars = {
        "nearest": found.median,
        "nearest_of_heldout": found.heldout_median,
        "nearer_than_heldout": found.probability_nearer,
    }
    return Found(scalars, details=found)


METRIC = Metric(_compute, better={})
