"""What every public layer must do: config, tf.function, checkpoint and SavedModel round trips."""

import importlib
import inspect
import pkgutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from layer_cases import CASES, normal, randomize

import cgt_tf.layers
from cgt_tf.layers.mixed import MixedLayer
from cgt_tf.layers.modulated_kernels import LowRankConv2D, ModulatedConv2D
from cgt_tf.layers.spectral import SpectralLayer

each_case = pytest.mark.parametrize("name", CASES)


@pytest.fixture
def case(name):
    factory, arguments = CASES[name]
    layer = factory()
    layer(*arguments)
    randomize(layer)
    return layer, arguments


def test_every_public_layer_has_a_case():
    public = set()
    for module in pkgutil.iter_modules(cgt_tf.layers.__path__, "cgt_tf.layers."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if inspect.isclass(value) and issubclass(value, keras.layers.Layer):
                public |= {value} if not name.startswith("_") else set()
    bases = {MixedLayer, SpectralLayer, ModulatedConv2D, LowRankConv2D}
    assert public - bases == {type(factory()) for factory, _ in CASES.values()}


@each_case
def test_config_round_trip(case):
    layer, arguments = case
    config = layer.get_config()
    again = type(layer).from_config(config)
    assert again.get_config() == config
    again(*arguments)
    assert [v.path for v in again.variables] == [v.path for v in layer.variables]
    for old, new in zip(layer.variables, again.variables, strict=True):
        new.assign(old)
    np.testing.assert_array_equal(again(*arguments), layer(*arguments))


@each_case
def test_works_inside_tf_function(case, graph):
    layer, arguments = case
    expected = layer(*arguments)
    np.testing.assert_allclose(tf.function(layer)(*arguments), expected, rtol=1e-5, atol=1e-5)


@each_case
def test_trains_inside_tf_function(case, graph):
    """Outputs, gradients and updated statistics equal the eager ones, and all but weights move."""
    layer, arguments = case
    initial = [v.numpy() for v in layer.variables]
    trainable = [v.value for v in layer.trainable_variables]

    def step():
        with tf.GradientTape() as tape:
            y = layer(*arguments, training=True)
            loss = tf.reduce_sum(y * normal(*y.shape, seed=5))
        return [y, *tape.gradient(loss, trainable)]

    eager = [x.numpy() for x in step()]
    updated = [v.numpy() for v in layer.variables]
    for variable, value in zip(layer.variables, initial, strict=True):
        variable.assign(value)
    for actual, expected in zip(tf.function(step)(), eager, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)
    for variable, value, old in zip(layer.variables, updated, initial, strict=True):
        np.testing.assert_allclose(variable, value, rtol=1e-5, atol=1e-6)
        assert variable.trainable == np.array_equal(value, old), variable.path


@each_case
def test_checkpoint_round_trip(case, name, tmp_path):
    layer, arguments = case
    path = tf.train.Checkpoint(layer=layer).write(str(tmp_path / "checkpoint"))
    again = CASES[name][0]()
    again(*arguments)
    status = tf.train.Checkpoint(layer=again).read(path)
    status.assert_consumed()
    np.testing.assert_array_equal(again(*arguments), layer(*arguments))


@each_case
def test_saved_model_round_trip(case, tmp_path):
    layer, arguments = case
    module = tf.Module()
    module.layer = layer
    module.f = tf.function(lambda *flat: layer(*tf.nest.pack_sequence_as(arguments, flat)))
    flat = tf.nest.flatten(arguments)
    specs = [None if x is None else tf.TensorSpec((None, *x.shape[1:])) for x in flat]
    module.f.get_concrete_function(*specs)
    tf.saved_model.save(module, str(tmp_path / "saved"))
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    np.testing.assert_allclose(loaded.f(*flat), layer(*arguments), rtol=1e-5, atol=1e-5)
