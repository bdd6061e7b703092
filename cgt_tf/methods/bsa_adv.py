"""BSA-adv, the paper's baseline: residuals of every norm alone, trained adversarially."""

import dataclasses
from typing import ClassVar

from cgt_tf.methods.cgan_transfer import CGANTransfer
from cgt_tf.methods.cgan_transfer_settings import CGANTransferSettings, OffsetSettings


class BSAAdversarial(CGANTransfer):
    """`CGANTransfer` with residuals alone, and no penalty on them."""

    Settings: ClassVar[type] = OffsetSettings

    @property
    def offsets(self) -> CGANTransferSettings:
        return CGANTransferSettings(
            propagate=False, l2_residual=0.0, **dataclasses.asdict(self.settings)
        )
