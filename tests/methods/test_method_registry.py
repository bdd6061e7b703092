"""The closed list of methods, what each one must have, and configs with a method's own knobs."""

import dataclasses
import json

import pytest

from cgt_tf.config import Config, MethodConfig, to_dict
from cgt_tf.errors import InputError
from cgt_tf.methods.base import TransferMethod
from cgt_tf.methods.registry import (
    DEFAULT,
    METHODS,
    config_from_dict,
    config_type,
    create_config,
    create_method,
    method_type,
    validate,
)

each_method = pytest.mark.parametrize("name", METHODS)


@each_method
def test_every_method_defines_the_contract(name):
    method = method_type(name)
    assert METHODS[name] == f"{method.__module__}:{method.__name__}"
    assert issubclass(method, TransferMethod)
    for function in ("build", "stages", "extended"):
        assert getattr(method, function) is not getattr(TransferMethod, function)


def test_a_name_that_no_method_has():
    message = f"--config.method.name must be one of {', '.join(METHODS)}, got 'magic'"
    for call in (method_type, config_type, create_config):
        with pytest.raises(InputError) as error:
            call("magic")
        assert str(error.value) == message
    with pytest.raises(InputError) as error:
        config_from_dict({"method": {"name": "magic"}})
    assert str(error.value) == message


@each_method
def test_create_method_makes_the_named_one(name):
    config = create_config(name)
    created = create_method(config)
    assert type(created) is method_type(name)
    assert created.config is config
    assert created.settings is getattr(config, name)


@each_method
def test_every_method_has_settings_with_help(name):
    settings = method_type(name).Settings
    assert dataclasses.is_dataclass(settings) and settings.__doc__
    fields = dataclasses.fields(settings)
    assert all(field.metadata.get("help") for field in fields)
    # Each group of knobs is made without arguments, and a knob is given by its name.
    assert settings() == settings(**{field.name: field.default for field in fields})
    if fields:
        with pytest.raises(TypeError):
            settings(fields[0].default)


@each_method
def test_a_config_has_the_common_groups_and_the_methods_own(name):
    kind = config_type(name)
    assert kind is config_type(name) and issubclass(kind, Config)
    groups = {field.name for field in dataclasses.fields(kind)}
    assert groups == {field.name for field in dataclasses.fields(Config)} | {name}
    config = kind()
    assert config.method == MethodConfig(name=name)
    assert getattr(config, name) == method_type(name).Settings()
    validate(config)


def test_the_default_method():
    assert create_config() == create_config(DEFAULT) == config_from_dict({})


def test_create_config_takes_the_methods_knobs_and_other_groups():
    config = create_config("bsa", {"emd": 0.5}, seed=7)
    assert (config.bsa.emd, config.seed, config.method.name) == (0.5, 7, "bsa")
    assert config.bsa.decay == create_config("bsa").bsa.decay
    with pytest.raises(TypeError, match="class_init"):
        create_config("bsa", {"class_init": "normal"})


@each_method
def test_a_config_survives_json(name):
    config = create_config(name, seed=5)
    again = config_from_dict(json.loads(json.dumps(to_dict(config))))
    assert again == config and type(again) is type(config)


def test_knobs_of_the_method_are_read_by_name():
    config = config_from_dict({"cgan_transfer": {"stages": ["propagate", "fine_tune"]}})
    assert config.cgan_transfer.stages == ("propagate", "fine_tune")
    with pytest.raises(InputError, match=r"^unknown config field cgan_transfer\.emd$"):
        config_from_dict({"cgan_transfer": {"emd": 1.0}})


def test_knobs_of_another_method_are_refused():
    with pytest.raises(InputError) as error:
        config_from_dict({"bsa": {"emd": 1.0}})
    assert str(error.value) == (
        "--config.bsa is a knob of the method bsa, got --config.method.name=cgan_transfer, whose "
        "own are --config.cgan_transfer.*"
    )
    values = {"method": {"name": "freeze_d"}, "transfergan": {}}
    with pytest.raises(InputError, match=r"knob of the method transfergan, got .*=freeze_d, whose"):
        config_from_dict(values)


@pytest.mark.parametrize("values", [{"method": 3}, {"method": {"name": "bsa"}, "bsa": None}])
def test_groups_that_are_none(values):
    with pytest.raises(InputError, match=r"^config field \w+ must be a group of fields, got"):
        config_from_dict(values)
