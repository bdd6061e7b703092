"""The metrics as functions of feature arrays; NumPy is all that they import."""

from cgt_tf.metrics.accuracy import classification_accuracy
from cgt_tf.metrics.diversity import intra_class_diversity, intra_class_variance
from cgt_tf.metrics.fid import frechet_distance
from cgt_tf.metrics.fid_infinity import fid_infinity
from cgt_tf.metrics.fld import feature_likelihood_divergence
from cgt_tf.metrics.inception_score import inception_score
from cgt_tf.metrics.intra_cluster import intra_cluster_diversity
from cgt_tf.metrics.intra_fid import intra_class_fid
from cgt_tf.metrics.intra_kid import intra_class_kid
from cgt_tf.metrics.kid import kernel_distance, kernel_distance_subsets
from cgt_tf.metrics.kmmd import kernel_mmd
from cgt_tf.metrics.mind import monge_distance
from cgt_tf.metrics.neighbours import memorisation, nearest_neighbours
from cgt_tf.metrics.prdc import prdc

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
    "prdc",
]
