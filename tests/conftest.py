"""What makes all tests quicker, and each the same whether it is run alone or with others."""

import gc
import random

import pytest
import tensorflow as tf
from helpers import as_graphs

from cgt_tf.export import saved_model

# TensorFlow's own objects, of which there are millions, are not looked through again and again.
gc.collect()
gc.freeze()
gc.set_threshold(100_000, 20, 50)

# Two workers share two cores, and tensors are small: handing work to threads takes longer than it.
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

# Most runs make a few steps, which take less than their graphs would take to be made. Graphs are
# for tests/conformance and for those that ask for them, and do not pay for their rewriting.
tf.config.run_functions_eagerly(True)
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})

# The signatures of an export call one function, which is traced anew in each where it is no graph.
saved_model._write = as_graphs()(saved_model._write)


@pytest.fixture(autouse=True, scope="module")
def seeded_module():
    random.seed(0)


@pytest.fixture(autouse=True)
def seeded(seeded_module):
    """Keras takes the seeds of initial weights from Python's `random`."""
    random.seed(0)
    eager = tf.config.functions_run_eagerly()
    yield
    assert tf.config.functions_run_eagerly() == eager, "all tests after this one would be slower"


def pytest_sessionfinish():
    # pytest would look through all objects once more, for seconds.
    gc.freeze()


@pytest.fixture(scope="module")
def graphs():
    """A `tf.function` is a graph, as users have it, in all tests of a module."""
    with as_graphs():
        yield


@pytest.fixture
def graph():
    """The same in one test, which makes many steps."""
    with as_graphs():
        yield
