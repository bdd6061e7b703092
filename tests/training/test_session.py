"""Sessions: what a config is brought to life as."""

import random

import numpy as np
from helpers import make_photos

from cgt_tf.api import make_config
from cgt_tf.training import session
from cgt_tf.training.session import Session


def variables(config):
    networks = Session.create(config).networks.named.values()
    return [v.numpy() for network in networks for v in network.variables]


def test_networks_are_the_same_whether_or_not_data_had_to_be_prepared(tmp_path, monkeypatch):
    make_photos(tmp_path / "photos", {"dog": 4, "emu": 4})
    values = {"source": "bundled:glyphs32", "data.train": f"{tmp_path}/photos"}
    config = make_config(None, {**values, "data.cache_dir": str(tmp_path)})
    there = variables(config)
    load_data = session.load_data

    def prepare_and_load(*arguments):
        random.random()  # As TFDS does.
        return load_data(*arguments)

    monkeypatch.setattr(session, "load_data", prepare_and_load)
    assert all(np.array_equal(a, b) for a, b in zip(there, variables(config), strict=True))
