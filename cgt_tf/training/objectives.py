"""The adversarial objective: hinge losses of tensorflow-gan (Lim & Ye, 2017; SAGAN, BigGAN)."""

import tensorflow as tf

from cgt_tf import tfgan


def hinge_discriminator_loss(real_logits, fake_logits):
    """Sum over the batch of relu(1 - D(real)) + relu(1 + D(fake)); divide by the global batch."""
    return tfgan.losses().wasserstein_hinge_discriminator_loss(
        real_logits, fake_logits, reduction=tf.compat.v1.losses.Reduction.SUM
    )


def hinge_generator_loss(fake_logits):
    """Sum over the batch of -D(fake); divide by the global batch."""
    return tfgan.losses().wasserstein_hinge_generator_loss(
        fake_logits, reduction=tf.compat.v1.losses.Reduction.SUM
    )
