"""The discrepancy of pooled features and the distillation against numbers of another program.

The goldens are float64 from formulas alone. Their feature maps are NCHW.
"""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from cgt_tf.methods import mmd
from cgt_tf.methods.distillation import distillation, level_distance

GOLDENS = np.load(Path(__file__).parents[1] / "goldens" / "d3t_terms.npz")
SETS = ("transformed", "generated")


def nhwc(name):
    return tf.constant(np.transpose(GOLDENS[name], (0, 2, 3, 1)))


def features():
    return [mmd.pooled(nhwc(f"{name}_nchw")) for name in SETS]


def labels():
    return [tf.constant(GOLDENS[f"labels_{name}"].astype(np.int32)) for name in SETS]


def close(found, expected):
    assert found.dtype == tf.float64
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_pooled_features():
    for name, found in zip(SETS, features(), strict=True):
        close(found, GOLDENS[f"pooled_{name}"])


def test_median_of_the_pairs():
    close(mmd.median_squared_distance(*features()), GOLDENS["median_squared_distance"])


@pytest.mark.parametrize("counts", [(3, 2), (3, 3), (2, 2)])
def test_the_median_is_that_of_the_pairs_whatever_their_number(counts):
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(n, 4)) for n in counts)
    both = np.concatenate([a, b])
    pairs = [np.sum((both[i] - both[j]) ** 2) for i in range(len(both)) for j in range(i)]
    close(mmd.median_squared_distance(tf.constant(a), tf.constant(b)), np.median(pairs))


def test_the_biased_form_of_the_same_kernel():
    a, b = features()
    median = mmd.median_squared_distance(a, b)
    means = [
        tf.reduce_mean(mmd.mixed_kernel(mmd.squared_distances(x, y), median))
        for x, y in ((a, a), (b, b), (a, b))
    ]
    close(means[0] + means[1] - 2 * means[2], GOLDENS["mmd2_biased"])


@pytest.mark.parametrize("kappa, name", [(0.0, ""), (1.0, "_conditional_kappa1")])
def test_unbiased_discrepancy_and_its_gradient(kappa, name):
    generated = nhwc("generated_nchw")
    with tf.GradientTape() as tape:
        tape.watch(generated)
        a, b = mmd.pooled(nhwc("transformed_nchw")), mmd.pooled(generated)
        value = mmd.mmd2(a, b, *labels(), kappa=kappa)
    close(value, GOLDENS[f"mmd2_unbiased{name}"])
    expected = GOLDENS[f"grad/mmd2_unbiased{name}/generated_nchw"]
    close(tape.gradient(value, generated), np.transpose(expected, (0, 2, 3, 1)))


def test_groups_are_compared_within_themselves():
    """Two groups of three, and one image alone, which has no pairs and does not count."""
    rng = np.random.default_rng(1)
    a, b = (tf.constant(rng.normal(size=(7, 4))) for _ in range(2))
    groups = tf.constant([5, 8, 5, 8, 2, 5, 8])
    median = mmd.median_squared_distance(a, b)
    expected = []
    for group in (5, 8):
        chosen = np.flatnonzero(groups == group)
        x, y = tf.gather(a, chosen), tf.gather(b, chosen)
        kernels = [
            mmd.mixed_kernel(mmd.squared_distances(*pair), median).numpy()
            for pair in ((x, x), (y, y), (x, y))
        ]
        off = ~np.eye(3, dtype=bool)
        expected.append(kernels[0][off].mean() + kernels[1][off].mean() - 2 * kernels[2].mean())
    close(mmd.mmd2(a, b, groups=groups), np.mean(expected))
    one = tf.zeros(7, tf.int32)
    close(mmd.mmd2(a, b, groups=one), mmd.mmd2(a, b).numpy())


def test_rare_classes_make_one_group():
    found = mmd.groups_of(tf.constant([4, 1, 4, 0, 4]), 3)
    np.testing.assert_array_equal(found, [4, -1, 4, -1, 4])


def test_equal_sets_have_a_finite_discrepancy():
    same = tf.ones([4, 3])
    assert abs(float(mmd.mmd2(same, same))) < 1e-6


def levels():
    names = ("source", "target", "calibration")
    return [[nhwc(f"distil/level_{i}/{name}") for name in names] for i in range(2)]


def test_distillation_and_its_gradient():
    sources, targets, calibration = zip(*levels(), strict=True)
    variances = [np.var(maps) for maps in calibration]
    for i, variance in enumerate(variances):
        close(tf.constant(variance), GOLDENS[f"distil/level_{i}/variance"])
        term = level_distance(sources[i], targets[i], variance)
        close(term, GOLDENS[f"distil/level_{i}/term"])
    with tf.GradientTape() as tape:
        tape.watch([*sources, *targets])
        total = distillation(sources, targets, variances)
    close(total, GOLDENS["distil/total"])
    gradients = tape.gradient(total, [*targets, *sources])
    for i in range(2):
        expected = GOLDENS[f"distil/level_{i}/grad_of_mean"]
        close(gradients[i], np.transpose(expected, (0, 2, 3, 1)))
    assert gradients[2:] == [None, None]
