"""Batch statistics adaptation (Noguchi & Harada, ICCV 2019): supervised, without discriminator.

Each training image has a code z_i, which starts at 0. The generator reconstructs the image from its
code and its class; what is minimised over codes, norms and class conditioning is

    mean |G(z_i + 0.01 n, y_i) - x_i| + 0.001 sum_l mean |phi_l - phi_l| + 0.1 EMD(z) + 0.02 reg

with n normal noise, phi_l feature maps of a perceptual network, EMD(z) the distance between the
batch's codes and normal draws, and reg the mean square of the class vectors (of sources whose norms
share them), or of the offsets of every norm and of the first linear layer (of sources with tables).
Weights and step sizes are those of the authors' code, `config.bsa`; all step sizes are multiplied
by 0.2 every 3000 steps.

Trained: codes; class vectors, or the norms' tables; the norms' projections; scale and shift of each
channel after the first linear layer, and that layer (its kernel by 1e-7 a step). Class vectors
start at N(0, 0.002), tables at 0. Convolutions are frozen, and so are batch-norm statistics (the
source's at `config.source_truncation`) and power vectors: the generator is never in training.

Adaptations: several classes, each with a vector or a row of the tables of its own, where the
authors adapt to one; the channels' scale and shift after the first layer are common to all. A
perceptual network is not at hand offline: without `config.bsa.perceptual_net` there is no such
term, and statistics of the run have no `perceptual`.

As the first layer and the projections change, the old classes are lost: the extended generator
holds the new ones only. The authors sample normal z truncated at 0.3; `truncation=0.2`, which is
0.2 times one truncated at 2, has the same spread.
"""

import keras
import numpy as np
from absl import logging
from keras import ops

from cgt_tf.config import Config
from cgt_tf.errors import InputError
from cgt_tf.methods.base import DataSpec, Reconstruction, Stage, TransferMethod
from cgt_tf.methods.perceptual import load_feature_maps
from cgt_tf.methods.scaled_dense import ScaledDense
from cgt_tf.methods.transfer import check_transfer
from cgt_tf.methods.whole_generator import copy_whole, generator_options, whole_spec
from cgt_tf.models.biggan import BaseGenerator, Generator
from cgt_tf.models.biggan_deep import DeepGenerator
from cgt_tf.models.fold import ExtendedGenerator
from cgt_tf.models.gan import Gan
from cgt_tf.models.spec import GanSpec

# He initialisation for one input, times the root of 0.001.
_CLASS_VECTOR_STD = (2 * 0.001) ** 0.5
# Draws that the codes' distribution is compared with, for each code.
_EMD_DRAWS = 10
# Settings of adversarial training, and flips, which would share a code between two images.
_WITHOUT_EFFECT = (
    *("data.flip", "generator.rampup_steps", "training.d_steps", "training.r1_gamma"),
    *("discriminator.source", "discriminator.warmup_steps", "discriminator.freeze_blocks"),
    *("training.ramp_end", "augmentation.policy", "augmentation.adaptive"),
)


class BSA(TransferMethod):
    """Fits codes, norms and class conditioning to the training images."""

    def build(self, source: Gan | None, target: DataSpec) -> Gan:
        check_transfer(source, target)
        self._check_config()
        spec = whole_spec(source.spec, len(target.class_names))
        self._generator = _create_generator(source.spec, spec)
        rng = np.random.default_rng(self.config.seed)

        def rows(name, table):
            scale = _CLASS_VECTOR_STD if name.startswith("class_embedding/") else 0.0
            return rng.normal(scale=scale, size=(spec.num_classes, table.shape[1]))

        copy_whole(source.generator, self._generator, rows, self.config.source_truncation)
        self._codes = None
        return Gan(spec, self._generator, None, list(target.class_names))

    def _check_config(self) -> None:
        defaults = Config()
        for name in _WITHOUT_EFFECT:
            group, _, field = name.partition(".")
            value, default = (getattr(getattr(x, group), field) for x in (self.config, defaults))
            if value != default:
                raise InputError(
                    "bsa has no discriminator, and one code an image: expected "
                    f"--config.{name}={default!r}, got {value!r}"
                )

    def prepare(self, gan: Gan, data) -> None:
        """Makes the codes of the images of `data`, and loads the perceptual network."""
        with keras.name_scope("bsa"):
            shape = (len(data), gan.spec.dim_z)
            self._codes = keras.Variable(np.zeros(shape, np.float32), name="codes")
        self._feature_maps = None
        if self.config.bsa.perceptual_net:
            self._feature_maps = load_feature_maps(self.config.bsa.perceptual_net)
        else:
            logging.warning("bsa without perceptual term: --config.bsa.perceptual_net is empty")

    def stages(self) -> tuple[Stage, ...]:
        bsa = self.config.bsa
        patterns = ["linear/.*", r"block_\d+/norm\d/.*"]
        rates = {"codes": bsa.code_learning_rate, "linear/kernel": bsa.linear_learning_rate}
        if self._generator.class_embedding is not None:
            patterns.append("class_embedding/.*")
            rates["class_embedding/.*"] = bsa.class_learning_rate
        reconstruction = Reconstruction(
            self._loss,
            () if self._codes is None else (self._codes,),
            learning_rates=rates,
            decay=bsa.decay,
            decay_every=bsa.decay_every,
            draws=1 + _EMD_DRAWS,
        )
        stage = Stage(
            "reconstruct",
            self.config.training.steps,
            tuple(patterns),
            discriminator=(),
            penalties=self._penalties,
            reconstruction=reconstruction,
        )
        return (stage,)

    def _loss(self, images, labels, indices, draws) -> dict:
        bsa = self.config.bsa
        codes = ops.take(self._codes, indices, axis=0)
        z = codes + bsa.code_noise * draws[:, 0]
        reconstructed, _ = self._generator(z, labels, training=False)
        normal = ops.reshape(draws[:, 1:], (-1, codes.shape[-1]))
        parts = {
            "l1": ops.mean(ops.abs(reconstructed - images)),
            "emd": bsa.emd * earth_mover_distance(codes, normal),
        }
        if self._feature_maps is not None:
            pairs = zip(self._feature_maps(reconstructed), self._feature_maps(images), strict=True)
            differences = [ops.mean(ops.abs(ours - theirs)) for ours, theirs in pairs]
            parts["perceptual"] = bsa.perceptual * sum(differences)
        return parts

    def _penalties(self) -> dict:
        embedding = self._generator.class_embedding
        if embedding is not None:
            total = ops.mean(ops.square(embedding.table()))
        else:
            linear = self._generator.linear
            offsets = [linear.scale - 1, linear.shift]
            for norm in self._generator.conditional_norms():
                offsets += norm.class_tables()
            total = sum(ops.mean(ops.square(x)) for x in offsets)
        return {"regularizer": self.config.bsa.regularizer * total}

    def extended(self, gan: Gan) -> ExtendedGenerator:
        return ExtendedGenerator([gan.generator], [gan.class_names])


def earth_mover_distance(codes, normal):
    """How far codes [n, d] are from draws [t, d]: mean squared distance to the nearest, both ways.

    The two-way nearest-neighbour form of the authors' code, not a transport plan.
    """
    squares = ops.sum(ops.square(codes), axis=1)[:, None] + ops.sum(ops.square(normal), axis=1)
    distances = squares - 2 * ops.matmul(codes, ops.transpose(normal))
    return ops.mean(ops.min(distances, axis=0)) + ops.mean(ops.min(distances, axis=1))


def _create_generator(source: GanSpec, spec: GanSpec) -> BaseGenerator:
    """A generator of the source's layers whose first has a scale and a shift a channel."""
    options = generator_options(source, spec)
    generator = (DeepGenerator if spec.deep else Generator)(spec, **options)
    # Before anything is built, so that the layer it replaces has no variables.
    generator.linear = ScaledDense(
        generator.linear.units,
        channels=spec.g_widths[0],
        spectral_norm=options.get("spectral_norm", True),
        sn_eps=spec.sn_eps,
        kernel_initializer="zeros",
        name="linear",
    )
    generator.build((None, spec.dim_z))
    return generator
