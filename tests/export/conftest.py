"""One export for all tests of this directory."""

import pytest
from export_networks import SPECS, transfer

from cgt_tf.export.saved_model import export_saved_model
from cgt_tf.export.served import load_saved_model


@pytest.fixture(scope="session")
def projected():
    return transfer(SPECS["projected"])


@pytest.fixture(scope="session")
def base(projected, tmp_path_factory):
    directory = tmp_path_factory.mktemp("served") / "glyphs"
    assert export_saved_model(projected[2], directory) == directory / "1"
    return directory


@pytest.fixture(scope="session")
def served(base):
    return load_saved_model(base)
