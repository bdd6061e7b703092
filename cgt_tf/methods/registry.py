"""The closed list of transfer methods."""

from cgt_tf.config import Config
from cgt_tf.methods.base import TransferMethod
from cgt_tf.methods.cgan_transfer import CGANTransfer
from cgt_tf.methods.scratch import Scratch

METHODS: dict[str, type[TransferMethod]] = {
    "cgan_transfer": CGANTransfer,
    "scratch": Scratch,
}


def create_method(config: Config) -> TransferMethod:
    """The method that `config.method.name` names; `config.validate` has checked the name."""
    return METHODS[config.method.name](config)
