"""Pseudo-classes as a checkpoint holds them make the images of classes that are one of them."""

import numpy as np
import pytest
from methods.tiny_sources import OLD, TARGET, normal, tiny_source, values

from cgt_tf.drawing import pseudo_classes
from cgt_tf.methods.registry import create_config, create_method
from cgt_tf.networks.domains import domains_of

CHOSEN = [2, 0, 4]
SETTINGS = [
    ("shared_hierarchical", {}),
    ("table", {"per_layer_scores": False}),
    (
        "shared_hierarchical",
        {"spectral_norm": True, "prior_bias": True, "latent_bias": True},
    ),
    ("deep", {"prior_bias": True}),
    ("folded", {}),
]


@pytest.mark.parametrize(("form", "settings"), SETTINGS)
def test_a_class_with_a_score_of_one_has_the_offsets_of_its_pseudo_class(form, settings):
    source = tiny_source(form)
    method = create_method(create_config("cgan_transfer", settings))
    networks = method.build((source,), TARGET)
    for i, variable in enumerate(networks.generator.variables):
        if variable.path.endswith(("prior/kernel", "prior/bias", "latent/bias")):
            variable.assign(normal(*variable.shape, seed=i))
        if variable.path.endswith("/residual"):
            variable.assign(np.zeros(variable.shape))
        if variable.path.endswith("scores/kernel"):
            variable.assign(np.eye(variable.shape[0], dtype=np.float32)[CHOSEN].T)
    extended = method.extended(networks)
    found = pseudo_classes._rows(extended.generator, values(networks.generator))
    learnt = domains_of(extended.generator, extended.class_names)[-1].rows
    assert set(found) == set(learnt)
    for key, rows in learnt.items():
        assert len(found[key]) >= len(OLD) and np.abs(rows).max() > 0.01
        np.testing.assert_allclose(found[key][CHOSEN], rows, atol=1e-5, err_msg=key)
