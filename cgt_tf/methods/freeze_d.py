"""FreezeD (Mo et al., 2020): fine-tuning with the discriminator's image-side blocks frozen.

`TransferGAN` with `config.discriminator.freeze_blocks`, which every adversarial transfer takes;
where it is left at 0, half of the blocks: 3 of BigGAN's 6 at 128x128 (the paper's choice) and 2 of
4 at 32x32. A frozen block keeps its weights, those of the attention after it, and its power
vectors.
"""

import dataclasses

from cgt_tf.config import Config
from cgt_tf.methods.transfergan import TransferGAN
from cgt_tf.models.gan import Gan


class FreezeD(TransferGAN):
    """Fine-tunes the whole source but for the discriminator's first blocks."""

    def freezing_config(self, source: Gan) -> Config:
        config = self.config
        blocks = config.discriminator.freeze_blocks or len(source.spec.d_widths) // 2
        discriminator = dataclasses.replace(config.discriminator, freeze_blocks=blocks)
        return dataclasses.replace(config, discriminator=discriminator)
