"""FreezeD (Mo et al., 2020): fine-tuning with the discriminator's image-side blocks frozen.

`TransferGAN` with `config.discriminator.freeze_blocks`, which every adversarial transfer takes;
where it is left at 0, half of the blocks: 3 of BigGAN's 6 at 128x128 (the paper's choice) and 2 of
4 at 32x32. A frozen block keeps its weights, those of the attention after it, and its power
vectors.
"""

from cgt_tf.methods.transfergan import TransferGAN


class FreezeD(TransferGAN):
    """Fine-tunes the whole source but for the discriminator's first blocks."""

    def frozen_blocks(self, source) -> int:
        return super().frozen_blocks(source) or len(source.d_widths) // 2
