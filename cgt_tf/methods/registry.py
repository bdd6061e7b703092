"""The closed list of transfer methods."""

from cgt_tf.config import Config
from cgt_tf.methods.base import TransferMethod
from cgt_tf.methods.bsa import BSA
from cgt_tf.methods.bsa_adv import BSAAdversarial
from cgt_tf.methods.cgan_transfer import CGANTransfer
from cgt_tf.methods.freeze_d import FreezeD
from cgt_tf.methods.scratch import Scratch
from cgt_tf.methods.transfergan import TransferGAN

METHODS: dict[str, type[TransferMethod]] = {
    "cgan_transfer": CGANTransfer,
    "bsa_adv": BSAAdversarial,
    "scratch": Scratch,
    "transfergan": TransferGAN,
    "freeze_d": FreezeD,
    "bsa": BSA,
}


def create_method(config: Config) -> TransferMethod:
    """The method that `config.method.name` names; `config_checks.validate` has checked the name."""
    return METHODS[config.method.name](config)
