"""The closed list of transfer methods, and the config of a run with its method's own group."""

import dataclasses
import functools
import importlib

from cgt_tf import config as configs
from cgt_tf import config_checks
from cgt_tf.config import Config, MethodConfig
from cgt_tf.errors import InputError
from cgt_tf.methods.base import TransferMethod

# Name -> "module:class", imported when a run needs it.
METHODS = {
    "cgan_transfer": "cgt_tf.methods.cgan_transfer:CGANTransfer",
    "bsa_adv": "cgt_tf.methods.bsa_adv:BSAAdversarial",
    "scratch": "cgt_tf.methods.scratch:Scratch",
    "transfergan": "cgt_tf.methods.transfergan:TransferGAN",
    "freeze_d": "cgt_tf.methods.freeze_d:FreezeD",
    "d3t_gan": "cgt_tf.methods.d3t_gan:D3TGAN",
    "bsa": "cgt_tf.methods.bsa:BSA",
    "minegan": "cgt_tf.methods.minegan:MineGAN",
    "hyper_modulation": "cgt_tf.methods.hyper_modulation:HyperModulation",
}
DEFAULT = "cgan_transfer"
# The one that needs no source.
UNTRANSFERRED = "scratch"


def method_type(name: str) -> type[TransferMethod]:
    """The class of a method; `InputError` for a name that no method has."""
    config_checks.one_of("method.name", name, METHODS)
    module, _, attribute = METHODS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


@functools.cache
def config_type(name: str) -> type[Config]:
    """`Config` with the group of knobs of one method, `config.<name>`."""
    settings = method_type(name).Settings
    method = dataclasses.field(default_factory=lambda: MethodConfig(name=name))
    own = dataclasses.field(default_factory=settings)
    fields = [("method", MethodConfig, method), (name, settings, own)]
    return dataclasses.make_dataclass("Config", fields, bases=(Config,), kw_only=True)


def create_config(name: str = DEFAULT, settings: dict | None = None, **groups) -> Config:
    """A config of a method: its own knobs by name in `settings`, other groups as they are."""
    kind = method_type(name).Settings
    return config_type(name)(**{name: kind(**(settings or {}))}, **groups)


def config_from_dict(values: dict) -> Config:
    """The inverse of `config.to_dict`; `InputError` for an unknown field or another method's."""
    method = values.get("method", {})
    name = method.get("name", DEFAULT) if isinstance(method, dict) else DEFAULT
    for group in values:
        if group in METHODS and group != name:
            raise InputError(foreign_knob(group, name))
    return configs.from_dict(values, config_type(name))


def foreign_knob(path: str, name: str) -> str:
    """What is wrong with a knob of another method than the run's."""
    owner = path.partition(".")[0]
    return (
        f"--config.{path} is a knob of the method {owner}, got --config.method.name={name}, whose "
        f"own are --config.{name}.*"
    )


def validate(config: Config) -> None:
    """Raises InputError for the first value out of its range, the method's own included."""
    method = method_type(config.method.name)
    if method.needs_source and not config.source:
        raise InputError(f"--config.source must be a handle for {config.method.name}, got ''")
    config_checks.validate(config)
    check = getattr(getattr(config, config.method.name), "check", None)
    if check:
        check(config)


def create_method(config: Config) -> TransferMethod:
    """The method of a validated config."""
    return method_type(config.method.name)(config)
