"""How several mined generators of `methods.minegan` compete, and how a selector learns who wins.

From the authors' code for MNIST (`conditional_one_hot`): a hard maximum over the generators for
each sample, under one critic. There the critic starts afresh and has the Wasserstein loss with a
gradient penalty; here it is the first source's, with the run's loss. There the selector shares its
first layer with the miner and learns from the last winners; here it is a network of its own, which
sees the label too, and learns from fresh draws.
"""

import tensorflow as tf

from cgt_tf.methods.adversarial import FAKE
from cgt_tf.methods.minegan_settings import Branches, MineGANSettings
from cgt_tf.methods.objectives import AdversarialLoss
from cgt_tf.methods.phases import Microbatch, Terms
from cgt_tf.networks.conditioning import class_weights
from cgt_tf.networks.selector import picked

# Share of the counted wins that a step keeps: they stand for the last hundred steps or so.
_KEPT = 0.99


def winners(logits) -> tf.Tensor:
    """One-hot rows [B, n] of the highest of a critic's logits [B, n]; it has no gradient."""
    return tf.one_hot(tf.argmax(logits, axis=-1), logits.shape[-1])


def selection_loss(logits, choice) -> tf.Tensor:
    """Mean cross entropy of a selector's logits [B, n] to the winners, one-hot rows [B, n]."""
    choice = tf.stop_gradient(choice)
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(choice, logits))


class Competition:
    """Images of one branch, or of that whose image the critic finds best, sample by sample.

    A branch is a generator behind a miner. The critic is the run's discriminator on what the
    augmentation makes of the images; its choice has no gradient, and branches that lost get none.

    Args:
        branches: Names of each one's generator and miner.
        loss: Which of the discriminator's logits are compared.
        settings: Settings of the method.
    """

    def __init__(self, branches: Branches, loss: AdversarialLoss, settings: MineGANSettings):
        self._branches = branches
        self._loss = loss
        self._settings = settings

    def generate(self, batch_statistics: bool):
        """For `Adversarial`; the generators are in training only with `batch_statistics`."""

        def images(p: Microbatch, z, classes, training: bool):
            weights = class_weights(classes, p.networks.spec.num_classes)
            made = self._made(p, z, weights, training, training and batch_statistics)
            if len(made) == 1:
                return made[0], {}
            choice = self._winners(p, made, weights)
            if training and self._settings.selector == "frequency":
                counts = p.networks["selector"].counts
                seen = tf.matmul(weights, choice, transpose_a=True)
                counts.assign(_KEPT * counts + seen)
            return picked(made, choice), {"winners": choice}

        return images

    def selector_terms(self, p: Microbatch) -> Terms:
        """Loss of the selector as a classifier, on fresh draws; 0 before its first step."""
        spec, selector = p.networks.spec, p.networks["selector"]
        z, labels = p.draws.latents(spec.dim_z, spec.num_classes)
        weights = class_weights(labels, spec.num_classes)
        made = self._made(p, z, weights, False, False)
        choice, logits = self._winners(p, made, weights), selector.logits(z, weights)
        due = tf.cast(p.step >= self._settings.selector_start, tf.float32)
        right = tf.reduce_mean(tf.reduce_sum(choice * winners(logits), axis=-1))
        terms = {"selection_loss": due * selection_loss(logits, choice)}
        return Terms(terms, {"selection_accuracy": right})

    def _made(self, p: Microbatch, z, weights, training: bool, generator_training: bool) -> list:
        made = []
        for generator, miner in self._branches:
            mined = p.networks[miner](z, weights, training=training)
            made.append(p.networks[generator](*mined, training=generator_training)[0])
        return made

    def _winners(self, p: Microbatch, made: list, weights) -> tf.Tensor:
        logits = []
        for images in made:
            seen = p.augment(tf.stop_gradient(images), FAKE)
            outputs = p.networks.discriminator(seen, weights, training=False)
            logits.append(self._loss.combined(*outputs, p.step))
        return winners(tf.stack(logits, axis=-1))
