"""Conformance is tested on graphs, equality with golden files on graphs as TensorFlow runs them."""

import pytest
import tensorflow as tf


@pytest.fixture(scope="module", autouse=True)
def _graphs(graphs):
    """Of all modules here."""


@pytest.fixture(scope="module")
def rewritten_graphs():
    """TensorFlow rewrites graphs before it runs them, which tests/conftest.py turns off."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
