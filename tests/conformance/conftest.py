"""Equality with golden files is tested on graphs as TensorFlow runs them."""

import pytest
import tensorflow as tf


@pytest.fixture(scope="module")
def rewritten_graphs(graphs):
    """TensorFlow rewrites graphs before it runs them, which tests/conftest.py turns off."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
