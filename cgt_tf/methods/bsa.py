"""Batch statistics adaptation (Noguchi & Harada, ICCV 2019): supervised, without discriminator.

Each training image has a code z_i, which starts at 0. The generator reconstructs the image from its
code and its class; what is minimised over codes, norms and class conditioning is

    mean |G(z_i + 0.01 n, y_i) - x_i| + 0.001 sum_l mean |phi_l - phi_l| + 0.1 EMD(z) + 0.02 reg

with n normal noise, phi_l feature maps of a perceptual network, EMD(z) the distance between the
batch's codes and normal draws, and reg the mean square of the class vectors (of sources whose norms
share them), or of the offsets of every norm and of the first linear layer (of sources with tables).
Weights and learning rates are those of the authors' code; all learning rates are multiplied by 0.2
every 3000 steps.

Trained: codes; class vectors, or the norms' tables; the norms' projections; scale and shift of each
channel after the first linear layer, and that layer (its kernel by 1e-7 a step). Class vectors
start at N(0, 0.002), tables at 0. Convolutions are frozen, and so are batch-norm statistics (the
source's at `config.source_truncation`) and power vectors: the generator is never in training.

Adaptations: several classes, each with a vector or a row of the tables of its own, where the
authors adapt to one; the channels' scale and shift after the first layer are common to all. A
perceptual network is not at hand offline: without `perceptual_net` there is no such term, and
statistics of the run have no `perceptual`.

As the first layer and the projections change, the old classes are lost: the extended generator
holds the new ones only. The authors sample normal z truncated at 0.3; `truncation=0.2`, which is
0.2 times one truncated at 2, has the same spread.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from cgt_tf.methods.base import DataSpec, TransferMethod
from cgt_tf.methods.bsa_settings import BSASettings
from cgt_tf.methods.phases import Adam, Phase, Stage, Trained
from cgt_tf.methods.run_networks import Networks

if TYPE_CHECKING:
    from cgt_tf.networks.extended import ExtendedGenerator
    from cgt_tf.networks.gan import Gan


class BSA(TransferMethod):
    """Fits codes, norms and class conditioning to the training images."""

    Settings: ClassVar[type] = BSASettings
    needs_discriminator: ClassVar[bool] = False

    def build(self, sources: Sequence["Gan"], target: DataSpec) -> Networks:
        from cgt_tf.methods import reconstruction, transfer

        (source,) = sources
        transfer.check_transfer(source, target)
        return Networks.of(reconstruction.create_gan(source, target, self.config))

    def prepare(self, networks: Networks, images) -> None:
        """Makes the codes of the images, and loads the perceptual network."""
        from cgt_tf.methods import reconstruction

        networks.others["codes"] = reconstruction.create_codes(len(images), networks.spec.dim_z)
        networks.teachers["perceptual"] = reconstruction.load_perceptual(
            self.settings.perceptual_net
        )

    def stages(self, networks: Networks) -> tuple[Stage, ...]:
        from cgt_tf.methods.reconstruction import Reconstruction

        phase = Phase(
            "reconstruct",
            self._trained(networks),
            Reconstruction(self.settings).loss,
            microbatches=self.config.training.accumulation,
        )
        return (Stage("reconstruct", self.config.training.steps, (phase,)),)

    def _trained(self, networks: Networks) -> tuple[Trained, ...]:
        settings = self.settings

        def adam(**changes) -> Adam:
            fall = {"decay": settings.decay, "decay_every": settings.decay_every}
            return Adam.of(self.config.generator, **fall, **changes)

        linear = adam(learning_rate=settings.linear_learning_rate)
        trained = [
            Trained("codes", adam(learning_rate=settings.code_learning_rate)),
            Trained("generator", linear, ("linear/kernel",)),
            Trained("generator", adam(), (r"linear/(?!kernel).*", r"block_\d+/norm\d/.*")),
        ]
        if networks.generator.class_embedding is not None:
            classes = adam(learning_rate=settings.class_learning_rate)
            trained.append(Trained("generator", classes, ("class_embedding/.*",)))
        return tuple(trained)

    def extended(self, networks: Networks) -> "ExtendedGenerator":
        from cgt_tf.networks.extended import fold_together

        return fold_together([networks.generator], [networks.class_names])
