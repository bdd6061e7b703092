"""The closed list of methods, and that each one has what a method must have."""

from cgt_tf import config as config_module
from cgt_tf.config import Config, MethodConfig
from cgt_tf.methods.base import TransferMethod
from cgt_tf.methods.registry import METHODS, create_method


def test_config_and_registry_list_the_same_methods():
    assert set(METHODS) == set(config_module.METHODS)


def test_every_method_defines_the_contract():
    for name, method in METHODS.items():
        assert issubclass(method, TransferMethod), name
        for function in ("build", "stages", "extended"):
            assert getattr(method, function) is not getattr(TransferMethod, function), name


def test_create_method_makes_the_named_one():
    for name, method in METHODS.items():
        config = Config(method=MethodConfig(name=name))
        created = create_method(config)
        assert type(created) is method
        assert created.config is config
