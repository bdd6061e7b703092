"""Metrics of generated images against real ones, and the protocol that makes them comparable.

The metrics are functions of feature arrays and import NumPy only; `features`, `generate` and
`protocol` are modules of their own, because they import TensorFlow.
"""

from cgt_tf.evaluation.fid import fid_infinity, frechet_distance
from cgt_tf.evaluation.fld import feature_likelihood_divergence
from cgt_tf.evaluation.inception_score import inception_score
from cgt_tf.evaluation.intra_class import (
    classification_accuracy,
    intra_class_diversity,
    intra_class_fid,
    intra_class_kid,
    intra_class_variance,
)
from cgt_tf.evaluation.intra_cluster import intra_cluster_diversity
from cgt_tf.evaluation.kid import kernel_distance, kernel_distance_subsets
from cgt_tf.evaluation.kmmd import kernel_mmd
from cgt_tf.evaluation.mind import monge_distance
from cgt_tf.evaluation.neighbours import memorisation, nearest_neighbours, neighbour_picture
from cgt_tf.evaluation.prdc import prdc

__all__ = [
    "classification_accuracy",
    "feature_likelihood_divergence",
    "fid_infinity",
    "frechet_distance",
    "inception_score",
    "intra_class_diversity",
    "intra_class_fid",
    "intra_class_kid",
    "intra_class_variance",
    "intra_cluster_diversity",
    "kernel_distance",
    "kernel_distance_subsets",
    "kernel_mmd",
    "memorisation",
    "monge_distance",
    "nearest_neighbours",
    "neighbour_picture",
    "prdc",
]
