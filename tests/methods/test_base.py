"""Selecting variables by pattern, and the base of the methods."""

import keras
import numpy as np
import pytest

from cgt_tf.config import Config
from cgt_tf.errors import InputError
from cgt_tf.methods.base import Stage, TransferMethod, select_variables, variable_name


@pytest.fixture
def variables():
    network = keras.Sequential(
        [keras.layers.Dense(2, name="first"), keras.layers.Dense(2, name="first_too")],
        name="network",
    )
    network(np.zeros((1, 2), np.float32))
    return network.trainable_variables


def names(selected):
    return [variable_name(v) for v in selected]


def test_names_are_paths_below_the_network(variables):
    expected = ["first/kernel", "first/bias", "first_too/kernel", "first_too/bias"]
    assert names(variables) == expected


def test_patterns_match_whole_names(variables):
    assert names(select_variables(variables, ("first/.*",))) == ["first/kernel", "first/bias"]
    with pytest.raises(InputError, match="pattern 'first' to match a variable"):
        select_variables(variables, ("first",))
    with pytest.raises(InputError, match="pattern 'kernel' to match a variable"):
        select_variables(variables, ("kernel",))


def test_variables_keep_their_order_and_come_once(variables):
    selected = select_variables(variables, (".*bias", "first/.*", ".*bias"))
    assert names(selected) == ["first/kernel", "first/bias", "first_too/bias"]
    assert select_variables(variables, (".*",)) == variables


def test_each_pattern_must_match(variables):
    with pytest.raises(InputError, match=r"'missing/\.\*' to match a variable, got none"):
        select_variables(variables, (".*", "missing/.*"))


def test_no_patterns_select_nothing(variables):
    assert select_variables(variables, ()) == []


def test_stage_defaults_train_everything_without_penalties():
    stage = Stage("all", 3)
    assert (stage.generator, stage.discriminator) == ((".*",), (".*",))
    assert stage.penalties() == {}


@pytest.mark.parametrize(
    "call", [lambda m: m.build(None, None), lambda m: m.stages(), lambda m: m.extended(None)]
)
def test_base_requires_its_functions(call):
    with pytest.raises(NotImplementedError, match="TransferMethod must define"):
        call(TransferMethod(Config()))


def test_prepare_does_nothing_by_default():
    assert TransferMethod(Config()).prepare(None, None) is None
