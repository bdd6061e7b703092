"""Named protocols: what each fixes, and how departures from it are told."""

import dataclasses

import pytest

from cgt_tf.config import PROTOCOLS, Config, EvaluationConfig
from cgt_tf.config_checks import validate
from cgt_tf.errors import InputError
from cgt_tf.scoring.protocols import TABLE, Protocol, get_protocol

DEFAULTS = EvaluationConfig()


def values(name):
    fields = dataclasses.asdict(get_protocol(name, DEFAULTS))
    assert fields["base"] == fields["name"]
    del fields["name"], fields["base"], fields["resize"]
    return fields


def test_the_table_is_what_the_config_names():
    assert {"run", *TABLE} == set(PROTOCOLS)
    assert all(protocol.name == name for name, protocol in TABLE.items())


@pytest.mark.parametrize(
    ("name", "num_samples", "reference"),
    [
        ("fid5k_heldout", 5_000, "heldout"),
        ("fid10k_heldout", 10_000, "heldout"),
        ("fid50k_train", 50_000, "train"),
        ("fid2k_train", 2_000, "train"),
    ],
)
def test_named_protocols_are_frozen(name, num_samples, reference):
    assert values(name) == {
        "num_samples": num_samples,
        "reference": reference,
        "labels": "uniform",
        "truncation": 1.0,
        "standing_batches": 0,
        "kmmd_samples": 0,
        "checkpoint": "",
    }


def test_paper_is_as_published():
    assert values("paper") == {
        "num_samples": 50_000,
        "reference": "train",
        "labels": "uniform",
        "truncation": 1.0,
        "standing_batches": 0,
        "kmmd_samples": 25_000,
        "checkpoint": "best",
    }


@pytest.mark.parametrize("name", ["", "run"])
def test_run_takes_the_values_of_the_config(name):
    evaluation = EvaluationConfig(
        num_samples=77, labels="as_data", truncation=0.5, standing_batches=16
    )
    protocol = get_protocol(name, evaluation)
    assert (protocol.name, protocol.num_samples, protocol.reference) == ("run", 77, "any")
    assert (protocol.labels, protocol.truncation) == ("as_data", 0.5)
    assert (protocol.bn_statistics, protocol.standing_batches) == ("standing", 16)


def test_a_named_protocol_takes_nothing_from_the_config():
    evaluation = EvaluationConfig(num_samples=77, truncation=0.5, standing_batches=16)
    assert get_protocol("fid5k_heldout", evaluation) == TABLE["fid5k_heldout"]
    assert TABLE["fid5k_heldout"].bn_statistics == "running"


def test_what_is_changed_is_in_the_name():
    protocol = TABLE["fid5k_heldout"]
    assert protocol.changed(num_samples=None, truncation=1.0, num_classes=None) is protocol
    few = protocol.changed(num_samples=100, truncation=0.5)
    assert few.name == "fid5k_heldout, changed: num_samples=100, truncation=0.5"
    assert (few.num_samples, few.truncation, few.reference) == (100, 0.5, "heldout")
    assert few.changed(labels="as_data").name == f"{few.name}, labels=as_data"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_samples": 1}, "at least 2 generated samples, got 1"),
        ({"reference": "test"}, "reference of .* got 'test'"),
        ({"labels": "balanced"}, "label sampling out of uniform, as_data, got 'balanced'"),
        ({"truncation": 0.0}, r"truncation in \(0, 1\], got 0.0"),
        ({"truncation": float("nan")}, "truncation"),
        ({"standing_batches": -1}, "standing batches of at least 0, got -1"),
    ],
)
def test_values_out_of_range_are_input_errors(change, message):
    with pytest.raises(InputError, match=message):
        Protocol(**{"name": "x", "num_samples": 10, "reference": "any", **change})


def test_unknown_names_are_input_errors():
    with pytest.raises(InputError, match=r"out of run, fid5k_heldout, .* got 'fid'"):
        get_protocol("fid", DEFAULTS)


@pytest.mark.parametrize(
    ("knob", "value"),
    [("num_samples", 100), ("labels", "as_data"), ("truncation", 0.5), ("standing_batches", 4)],
)
def test_a_config_does_not_contradict_its_named_protocol(knob, value):
    config = Config()
    setattr(config.evaluation, knob, value)
    validate(config)
    config.evaluation.protocol = "fid5k_heldout"
    with pytest.raises(
        InputError, match=f"evaluation.{knob} must be left out with .*fid5k_heldout"
    ):
        validate(config)


@pytest.mark.parametrize(
    ("knob", "value", "message"),
    [
        ("protocol", "fid", "must be one of run, fid5k_heldout"),
        ("labels", "balanced", "must be one of uniform, as_data"),
        ("truncation", 0.0, r"must be in \(0, 1\], got 0.0"),
        ("standing_batches", -1, "must be at least 0, got -1"),
        ("metrics", ("psnr",), "must be one of fid, kmmd, kid"),
    ],
)
def test_knobs_out_of_range_are_input_errors(knob, value, message):
    config = Config()
    setattr(config.evaluation, knob, value)
    with pytest.raises(InputError, match=message):
        validate(config)
