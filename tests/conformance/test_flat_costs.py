"""A step's multiply-adds hardly depend on how many classes there are, old or new."""

import sys
from pathlib import Path

import pytest
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import multiply_counts
import step_worker

pytestmark = pytest.mark.usefixtures("graphs")

CASE = {
    "method": "cgan_transfer",
    "resolution": 32,
    "channels": 4,
    "d_steps": 1,
    "batch_size": 8,
    "precision": "float32",
}


def total(directory, old, new):
    case = {**CASE, "old_classes": old, "new_classes": new}
    run = step_worker.random_training(case, directory)
    counts = multiply_counts.multiply_adds(run.make_step().traced(run.batches(run.spans[0], 0)))
    return counts["convolutions"] + counts["products"]


def test_many_classes_cost_a_step_no_more_than_few(tmp_path):
    few = total(tmp_path / "few", 80, 5)
    many = total(tmp_path / "many", 1000, 100)
    assert few < many < 1.05 * few


def function_of(body, *shapes):
    specs = [tf.TensorSpec(shape) for shape in shapes]
    return tf.function(body, autograph=False).get_concrete_function(*specs)


def test_products_and_convolutions_and_their_gradients_are_counted():
    def product(x, w):
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y = tf.matmul(x, w)
        return y, tape.gradient(y, [x, w])

    assert multiply_counts.multiply_adds(function_of(product, (2, 3), (3, 5))) == {
        "convolutions": 0,
        "products": 3 * 2 * 3 * 5,
    }

    def convolution(x, w):
        with tf.GradientTape() as tape:
            tape.watch([x, w])
            y = tf.nn.conv2d(x, w, 2, "SAME")
        return y, tape.gradient(y, [x, w])

    counts = multiply_counts.multiply_adds(function_of(convolution, (2, 8, 6, 3), (3, 3, 3, 5)))
    assert counts == {"convolutions": 3 * 2 * 4 * 3 * 5 * 27, "products": 0}


def test_what_no_result_depends_on_is_not_counted():
    """The gradient of a convolution makes both of its parts, whichever is asked for."""

    def convolution(x, w):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.nn.conv2d(x, w, 1, "SAME")
        return y, tape.gradient(y, x)

    counts = multiply_counts.multiply_adds(function_of(convolution, (2, 8, 6, 3), (3, 3, 3, 5)))
    assert counts["convolutions"] == 2 * 2 * 8 * 6 * 5 * 27


def test_loops_count_once_and_conditions_their_dearer_branch():
    square = (4, 4)

    def loop(x):
        return tf.while_loop(lambda x: True, lambda x: (tf.matmul(x, x),), (x,))

    def branches(x):
        return tf.cond(
            tf.reduce_sum(x) > 0, lambda: tf.matmul(x, x) @ x, lambda: tf.matmul(x[:1], x)
        )

    assert multiply_counts.multiply_adds(function_of(loop, square))["products"] == 64
    assert multiply_counts.multiply_adds(function_of(branches, square))["products"] == 128
    unknown = function_of(lambda x: tf.matmul(x, x, transpose_b=True), (None, 4))
    with pytest.raises(ValueError, match="expected known shapes"):
        multiply_counts.multiply_adds(unknown)
