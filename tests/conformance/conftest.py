"""Equality with other code and with golden files is tested on graphs as users run them."""

import pytest
import tensorflow as tf


@pytest.fixture(scope="module")
def rewritten_graphs():
    """TensorFlow rewrites graphs before it runs them, which tests/conftest.py turns off."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
