"""Selecting variables by pattern, a run's networks, and the base of the methods."""

import keras
import numpy as np
import pytest
from tiny_sources import tiny_source

from cgt_tf.config import OptimizerConfig
from cgt_tf.errors import InputError
from cgt_tf.methods.base import TransferMethod
from cgt_tf.methods.phases import Adam, Phase, Stage, Terms, Trained
from cgt_tf.methods.registry import create_config
from cgt_tf.methods.run_networks import Networks
from cgt_tf.networks.gan import Gan
from cgt_tf.networks.weights import select_variables, variable_name


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


def test_defaults_train_everything_once_a_step_without_penalties():
    assert Trained("generator", Adam(learning_rate=0.1)).patterns == (".*",)
    phase = Phase("all", (), lambda p: Terms({}))
    assert (phase.every, phase.updates, phase.microbatches, phase.images) == (1, 1, 1, True)
    assert phase.loss(None).reported == {}
    assert Stage("all", 3, (phase,)).begin is None


def test_adam_takes_the_knobs_of_a_group_but_for_changes():
    knobs = OptimizerConfig(learning_rate=0.1, beta_1=0.2, beta_2=0.3, epsilon=0.4, rampup_steps=5)
    expected = Adam(learning_rate=0.1, beta_1=0.2, beta_2=0.3, epsilon=0.4, rampup_steps=5)
    assert Adam.of(knobs) == expected
    changed = Adam.of(knobs, learning_rate=1.0, decay=0.5)
    assert (changed.learning_rate, changed.decay, changed.beta_2) == (1.0, 0.5, 0.3)


def test_networks_are_those_of_a_gan_and_others_by_name():
    gan = Gan(tiny_source("table").spec, "G", "D", list("abcde"))
    networks = Networks.of(gan, miner="M")
    networks.teachers["judge"] = "T"
    assert networks.named == {"generator": "G", "discriminator": "D", "miner": "M"}
    names = ("generator", "discriminator", "miner", "judge")
    assert "".join(networks[name] for name in names) == "GDMT"
    assert networks.gan() == gan
    gan.discriminator = None
    assert Networks.of(gan).named == {"generator": "G"}


@pytest.mark.parametrize(
    "call",
    [lambda m: m.build((), None), lambda m: m.stages(None), lambda m: m.extended(None)],
)
def test_base_requires_its_functions(call):
    with pytest.raises(NotImplementedError, match="TransferMethod must define"):
        call(TransferMethod(create_config()))


def test_prepare_does_nothing_by_default():
    assert TransferMethod(create_config()).prepare(None, None) is None
