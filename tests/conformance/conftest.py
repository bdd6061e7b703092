"""Equality with golden files is tested on graphs as TensorFlow runs them."""

import pytest
from helpers import as_graphs


@pytest.fixture(scope="module")
def rewritten_graphs():
    with as_graphs(rewritten=True):
        yield
