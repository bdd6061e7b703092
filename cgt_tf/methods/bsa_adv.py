import dataclasses

from cgt_tf.config import MethodConfig
from cgt_tf.methods.cgan_transfer import CGANTransfer


class BSAAdversarial(CGANTransfer):
    """`CGANTransfer` with residuals alone, and no penalty on them."""

    @property
    def settings(self) -> MethodConfig:
        return dataclasses.replace(
            self.config.method, propagate=False, residual=True, l2_residual=0.0
        )
