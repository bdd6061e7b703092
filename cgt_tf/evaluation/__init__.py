"""Metrics of generated images against real ones, and the protocol that makes them comparable.

The metrics are functions of feature arrays and import NumPy only; `features`, `generate` and
`protocol` are modules of their own, because they import TensorFlow.
"""

from cgt_tf.evaluation.fid import frechet_distance
from cgt_tf.evaluation.kmmd import kernel_mmd

__all__ = ["frechet_distance", "kernel_mmd"]
