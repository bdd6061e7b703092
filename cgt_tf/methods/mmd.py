"""Maximum mean discrepancy between two sets of pooled feature maps (Gretton et al., JMLR 2012).

All functions work in the type of what they are given, float32 or float64.
"""

import tensorflow as tf

# Bandwidths of the mixed Gaussian kernels, as multiples of the median squared distance.
BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
# Under the root of the spatial standard deviation, so that flat channels have a gradient.
_VARIANCE_FLOOR = 1e-8


def pooled(feature_map):
    """Mean and standard deviation over space, float [B, H, W, C] -> [B, 2 C]."""
    mean = tf.reduce_mean(feature_map, axis=(1, 2), keepdims=True)
    variance = tf.reduce_mean(tf.square(feature_map - mean), axis=(1, 2))
    return tf.concat([mean[:, 0, 0], tf.sqrt(variance + _VARIANCE_FLOOR)], axis=-1)


def squared_distances(a, b):
    """|a_i - b_j|^2 of float [n, d] and [m, d] -> [n, m], not below 0."""
    # Small numbers lose less in the product than those far from the origin.
    centre = tf.stop_gradient(tf.reduce_mean(tf.concat([a, b], axis=0), axis=0))
    a, b = a - centre, b - centre
    squares = tf.reduce_sum(a * a, axis=1)[:, None] + tf.reduce_sum(b * b, axis=1)
    return tf.maximum(squares - 2.0 * tf.matmul(a, b, transpose_b=True), 0.0)


def median_squared_distance(a, b):
    """The median over all pairs of different members of both sets together; without gradient."""
    both = tf.stop_gradient(tf.concat([a, b], axis=0))
    count = tf.shape(both)[0]
    distances = squared_distances(both, both)
    # Every pair stands there twice, which leaves the median as it is. Members' distances from
    # themselves are put before all others, and left out.
    distances = tf.linalg.set_diag(distances, -tf.ones([count], both.dtype))
    ordered = tf.sort(tf.reshape(distances, [-1]))[count:]
    half = tf.size(ordered) // 2
    return (ordered[half - 1] + ordered[half]) / 2.0


def mixed_kernel(distances, median):
    """Mean of exp(-D / (2 c m)) over `BANDWIDTHS` c, for squared distances D and their median m."""
    scale = -0.5 / tf.maximum(median, tf.constant(1e-12, median.dtype))
    return tf.add_n([tf.exp(distances * (scale / c)) for c in BANDWIDTHS]) / len(BANDWIDTHS)


def groups_of(labels, least: int):
    """Labels int [n], and -1 for those of which there are fewer than `least`."""
    counts = tf.reduce_sum(tf.cast(labels[:, None] == labels, tf.int32), axis=1)
    return tf.where(counts >= least, labels, -tf.ones_like(labels))


def mmd2(a, b, labels_a=None, labels_b=None, *, kappa: float = 0.0, groups=None):
    """Unbiased estimate of the squared discrepancy of two sets, a scalar; may be negative.

    The mean of k over the pairs of different members of a, and of b, less twice that over pairs of
    one of each. k is `mixed_kernel` at the median of all; kappa multiplies it by 1 + kappa for
    pairs of one class.

    Args:
        a, b: float [n, d] and [m, d]; n and m at least 2.
        labels_a, labels_b: int [n] and [m], for kappa.
        kappa: Not negative; 0: labels have no effect.
        groups: int [n], where a and b are matched one to one: the mean, over the groups with at
            least 2 members in each set, of the discrepancy within them. None: all are one.
    """
    median = median_squared_distance(a, b)

    def kernel(x, y, labels_x, labels_y):
        values = mixed_kernel(squared_distances(x, y), median)
        if not kappa:
            return values
        return values * (1.0 + kappa * tf.cast(labels_x[:, None] == labels_y, values.dtype))

    within_a, within_b = kernel(a, a, labels_a, labels_a), kernel(b, b, labels_b, labels_b)
    between = kernel(a, b, labels_a, labels_b)
    if groups is None:
        return _mean_of_pairs(within_a) + _mean_of_pairs(within_b) - 2.0 * tf.reduce_mean(between)
    pairs, all_of_both = _group_weights(groups, a.dtype)
    return tf.reduce_sum(pairs * (within_a + within_b)) - 2.0 * tf.reduce_sum(all_of_both * between)


def _mean_of_pairs(kernel):
    """Mean of a square matrix without its diagonal."""
    count = tf.cast(tf.shape(kernel)[0], kernel.dtype)
    return (tf.reduce_sum(kernel) - tf.linalg.trace(kernel)) / (count * (count - 1.0))


def _group_weights(groups, dtype):
    """Weights [n, n] of the pairs of different members of a group, and of any two, [n, n].

    Those of each group sum to 1 over the number of groups.
    """
    same = tf.cast(groups[:, None] == groups, dtype)
    counts = tf.reduce_sum(same, axis=1, keepdims=True)
    several = tf.cast(counts > 1.0, dtype)
    number = tf.reduce_sum(several / counts)
    any_two = same * several / (counts * counts * number)
    pairs = same * several / (counts * tf.maximum(counts - 1.0, 1.0) * number)
    return tf.linalg.set_diag(pairs, tf.zeros_like(pairs[0])), any_two
