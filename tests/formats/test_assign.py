"""The audit: everything is written once, read or explained, or nothing changes."""

import keras
import numpy as np
import pytest
from keras import ops

from cgt_tf.errors import InputError
from cgt_tf.formats.assign import OIHW, SAME, TRANSPOSED, Rule, assign, collect, reshaped
from cgt_tf.layers.spectral import SpectralDense

RULES = [Rule("dense/kernel", "w", TRANSPOSED), Rule("dense/bias", "b", reshaped((1, 2), (2,)))]


class Network(keras.Model):
    def __init__(self):
        super().__init__(name="network")
        self.dense = SpectralDense(2, spectral_norm=False, name="dense")

    def build(self, shape):
        self.dense.build(shape)


@pytest.fixture
def network():
    network = Network()
    network.build((None, 3))
    return network


def tensors(**changes):
    arrays = {"w": np.arange(6.0).reshape(2, 3), "b": np.ones((1, 2)), "count": np.float64(1)}
    return {k: v for k, v in {**arrays, **changes}.items() if v is not None}


def read(network, arrays, ignored=None):
    return assign(network, arrays, RULES, {"count": "a count"} if ignored is None else ignored, "f")


def test_every_tensor_is_reported(network):
    lines = [str(line) for line in read(network, tensors())]
    assert lines == [
        "w [2x3] -> dense/kernel: transposed",
        "b [1x2] -> dense/bias: reshaped to [2]",
        "count [scalar] -> -: ignored: a count",
    ]
    np.testing.assert_array_equal(network.dense.kernel, tensors()["w"].T)
    np.testing.assert_array_equal(network.dense.bias, [1, 1])


@pytest.mark.parametrize(
    ("changes", "ignored", "message"),
    [
        ({"b": None}, None, "f does not hold the tensors of such a network: 1 missing: b"),
        ({}, {}, "1 unexplained: count"),
        ({"x": np.ones(2), "b": None}, None, "1 missing: b; 1 unexplained: x"),
        ({"w": np.ones((3, 3))}, None, r"f: 1 shapes do not fit: w \[3, 3\] for dense/kernel"),
        ({"b": np.ones(3)}, None, r"b \[3\] for dense/bias \[2\]"),
        ({"b": np.array([[1, np.nan]])}, None, "expected finite numbers in f, got NaN or inf: b"),
    ],
)
def test_a_misfit_is_an_error_and_changes_nothing(network, changes, ignored, message):
    before = [ops.convert_to_numpy(v) for v in network.variables]
    with pytest.raises(InputError, match=message):
        read(network, tensors(**changes), ignored)
    for variable, value in zip(network.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize("rules", [RULES[:1], [*RULES, RULES[0]]], ids=["too few", "twice"])
def test_a_table_that_does_not_fit_the_network_is_a_defect(network, rules):
    read = {rule.source for rule in rules}
    arrays = {name: value for name, value in tensors().items() if name in read}
    with pytest.raises(AssertionError, match="rule table"):
        assign(network, arrays, rules, {}, "f")


def test_a_table_works_backwards(network):
    read(network, tensors())
    again = collect(network, RULES)
    assert again.keys() == {"w", "b"}
    for name, value in again.items():
        np.testing.assert_array_equal(value, tensors()[name])


@pytest.mark.parametrize("layout", [SAME, TRANSPOSED, OIHW, reshaped((2, 3, 4, 5), (6, 20))])
def test_layouts_are_undone(layout):
    array = np.random.default_rng(0).normal(size=(2, 3, 4, 5))
    np.testing.assert_array_equal(layout.write(layout.read(array)), array)
