"""Metrics for other programs, as functions of arrays; NumPy is all that they import."""

from cgt_tf.metrics.fid import frechet_distance
from cgt_tf.metrics.inception_score import inception_score
from cgt_tf.metrics.kid import kernel_distance
from cgt_tf.metrics.kmmd import kernel_mmd
from cgt_tf.metrics.prdc import prdc

__all__ = ["frechet_distance", "inception_score", "kernel_distance", "kernel_mmd", "prdc"]
