"""Networks and loss of BSA, see `methods.bsa`."""

import numpy as np
from absl import logging
from keras import ops

from cgt_tf.config import Config
from cgt_tf.layers.mixed import MixedLayer
from cgt_tf.methods.base import DataSpec
from cgt_tf.methods.bsa_settings import BSASettings
from cgt_tf.methods.perceptual import FeatureMaps, load_feature_maps
from cgt_tf.methods.phases import Microbatch, Terms
from cgt_tf.methods.scaled_dense import ScaledDense
from cgt_tf.methods.whole_generator import copy_whole, generator_options, whole_spec
from cgt_tf.networks.biggan import BaseGenerator, Generator
from cgt_tf.networks.biggan_deep import DeepGenerator
from cgt_tf.networks.gan import Gan
from cgt_tf.networks.spec import GanSpec

# He initialisation for one input, times the root of 0.001.
_CLASS_VECTOR_STD = (2 * 0.001) ** 0.5
# Draws that the codes' distribution is compared with, for each code.
_EMD_DRAWS = 10


class Codes(MixedLayer):
    """A code for each training image, [n, dim_z], zeros at first."""

    def __init__(self, count: int, dim_z: int, **kwargs):
        super().__init__(**kwargs)
        self.codes = self.add_weight(name="codes", shape=(count, dim_z), initializer="zeros")

    def call(self, indices):
        """Codes [b, dim_z] of the images with these numbers."""
        return ops.take(self.codes, indices, axis=0)


def create_codes(count: int, dim_z: int) -> Codes:
    return Codes(count, dim_z, name="codes")


def load_perceptual(handle: str) -> FeatureMaps | None:
    """The network whose feature maps are compared; None without a handle, which is warned of."""
    if handle:
        return load_feature_maps(handle)
    logging.warning("reconstruction without perceptual term: perceptual_net is empty")
    return None


def create_gan(source: Gan, target: DataSpec, config: Config) -> Gan:
    """The source's generator with fresh classes, and no discriminator."""
    spec = whole_spec(source.spec, len(target.class_names))
    generator = _create_generator(source.spec, spec)
    rng = np.random.default_rng(config.seed)

    def rows(name, table):
        scale = _CLASS_VECTOR_STD if name.startswith("class_embedding/") else 0.0
        return rng.normal(scale=scale, size=(spec.num_classes, table.shape[1]))

    copy_whole(source.generator, generator, rows, config.source_truncation)
    return Gan(spec, generator, None, list(target.class_names))


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


class Reconstruction:
    """The loss of a microbatch; see `methods.bsa`."""

    def __init__(self, settings: BSASettings):
        self._settings = settings

    def loss(self, p: Microbatch) -> Terms:
        """Parts of the loss by name, and their sum."""
        settings, codes = self._settings, p.networks["codes"](p.indices)
        draws = p.draws.normal(1 + _EMD_DRAWS, codes.shape[-1])
        z = codes + settings.code_noise * draws[:, 0]
        reconstructed, _ = p.networks.generator(z, p.labels, training=False)
        normal = ops.reshape(draws[:, 1:], (-1, codes.shape[-1]))
        parts = {
            "l1": ops.mean(ops.abs(reconstructed - p.images)),
            "emd": settings.emd * earth_mover_distance(codes, normal),
        }
        feature_maps = p.networks.teachers["perceptual"]
        if feature_maps is not None:
            pairs = zip(feature_maps(reconstructed), feature_maps(p.images), strict=True)
            differences = [ops.mean(ops.abs(ours - theirs)) for ours, theirs in pairs]
            parts["perceptual"] = settings.perceptual * sum(differences)
        parts["regularizer"] = settings.regularizer * mean_square(p.networks.generator)
        return Terms(parts, {"loss": sum(parts.values())})


def mean_square(generator: BaseGenerator):
    """Of the class vectors; without them of all offsets, and of the first layer's, summed."""
    if generator.class_embedding is not None:
        return ops.mean(ops.square(generator.class_embedding.table()))
    offsets = [generator.linear.scale - 1, generator.linear.shift]
    for norm in generator.conditional_norms():
        offsets += norm.class_tables()
    return sum(ops.mean(ops.square(x)) for x in offsets)


def earth_mover_distance(codes, normal):
    """How far codes [n, d] are from draws [t, d]: mean squared distance to the nearest, both ways.

    The two-way nearest-neighbour form of the authors' code, not a transport plan.
    """
    squares = ops.sum(ops.square(codes), axis=1)[:, None] + ops.sum(ops.square(normal), axis=1)
    distances = squares - 2 * ops.matmul(codes, ops.transpose(normal))
    return ops.mean(ops.min(distances, axis=0)) + ops.mean(ops.min(distances, axis=1))
