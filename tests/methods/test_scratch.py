"""Training from scratch: the spec a config describes, and what is trained."""

import numpy as np
import pytest
from keras import ops
from tiny_sources import penalties, trained_variables

from cgt_tf.config import ModelConfig
from cgt_tf.errors import InputError
from cgt_tf.methods.base import DataSpec
from cgt_tf.methods.registry import create_config
from cgt_tf.methods.scratch import Scratch, spec_from_config
from cgt_tf.networks.spec import biggan_spec

TINY = {
    "g_widths": (8, 8, 4, 4),
    "d_widths": (4, 8, 8),
    "dim_z": 16,
    "shared_dim": 6,
}


def test_defaults_are_the_published_spec():
    spec = spec_from_config(ModelConfig(resolution=128), 7)
    assert spec == biggan_spec(128, 7)
    assert spec.num_classes == 7


def test_changes_of_the_config_reach_the_spec():
    model = ModelConfig(**TINY, attention=(8,), hierarchical=False)
    spec = spec_from_config(model, 3)
    assert (spec.g_widths, spec.d_widths, spec.d_halvings) == ((8, 8, 4, 4), (4, 8, 8), 2)
    assert (spec.dim_z, spec.shared_dim, spec.hierarchical) == (16, 6, False)
    assert spec.g_attention == spec.d_attention == (8,)
    assert spec_from_config(ModelConfig(**TINY, d_halvings=3), 3).d_halvings == 3
    assert spec_from_config(ModelConfig(channels=16), 3).g_widths == (64, 64, 64, 64)
    assert spec_from_config(ModelConfig(shared_dim=0), 3).shared_dim == 0


def test_builds_what_the_config_says_and_trains_everything():
    config = create_config("scratch", model=ModelConfig(**TINY, fused=False, embedding_gain=3.0))
    config.training.steps = 7
    method = Scratch(config)
    gan = method.build((), DataSpec(("x", "y"), 32))
    assert gan.class_names == ["x", "y"]
    assert gan.spec == spec_from_config(config.model, 2)
    assert not gan.generator.blocks[0].conv1.fused
    embeddings = ops.convert_to_numpy(gan.generator.class_embedding.kernel)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), [3.0, 3.0], rtol=1e-5)
    (stage,) = method.stages(gan)
    assert (stage.name, stage.steps, penalties(gan, stage)) == ("scratch", 7, {})
    assert list(gan.named) == ["generator", "discriminator"]
    for name, network in gan.named.items():
        assert trained_variables(gan, stage, name) == network.trainable_variables
    extended = method.extended(gan)
    assert extended.class_names == ["x", "y"]
    z = np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32)
    expected = gan.generator(z, np.array([1, 0]))[0]
    np.testing.assert_allclose(extended(z, np.array([1, 0])), expected, atol=1e-5)


def test_images_of_another_resolution_are_an_input_error():
    message = r"expected images of --config\.model.resolution 32, got 64"
    method = Scratch(create_config("scratch", model=ModelConfig(**TINY)))
    with pytest.raises(InputError, match=message):
        method.build((), DataSpec(("x",), 64))
