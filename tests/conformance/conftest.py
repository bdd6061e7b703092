"""Equality with other code is tested on graphs as users run them: rewritten by TensorFlow."""

import pytest
import tensorflow as tf


@pytest.fixture(scope="package", autouse=True)
def _rewritten_graphs():
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
