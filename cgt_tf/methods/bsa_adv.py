"""BSA in the adversarial form that the cGANTransfer paper most likely compares with.

Only per-class residuals of the batch-norm scales and shifts (and the latent projections, where a
generator has them) are trained, with the discriminator, as cGANTransfer without propagation:
table 2 of Shahbazi et al., CVPR 2021. The original objective of BSA (Noguchi & Harada, ICCV 2019)
is another method, `bsa`.
"""

import dataclasses

from cgt_tf.config import Config
from cgt_tf.methods.cgan_transfer import CGANTransfer


class BSAAdversarial(CGANTransfer):
    """`CGANTransfer` with residuals alone, and no penalty on them."""

    def __init__(self, config: Config):
        method = dataclasses.replace(config.method, propagate=False, residual=True, l2_residual=0.0)
        super().__init__(dataclasses.replace(config, method=method))
