"""A method whose networks have one block at 8x8 pixels."""

import dataclasses

import tensorflow as tf

from cgt_tf.methods.adversarial import Adversarial
from cgt_tf.methods.phases import Adam, Phase, Terms, Trained
from cgt_tf.methods.run_networks import Networks
from cgt_tf.methods.scratch import Scratch
from cgt_tf.networks.gan import Gan, create_gan, create_generator
from cgt_tf.networks.spec import GanSpec

CLASS_NAMES = ("a", "b", "c")


class TinyScratch(Scratch):
    """Training from scratch with networks that no published table has."""

    def build(self, sources, target):
        spec = GanSpec(
            resolution=8,
            num_classes=len(target.class_names),
            dim_z=8,
            g_widths=(4, 4),
            d_widths=(4, 4),
            d_halvings=1,
            hierarchical=True,
            shared_dim=4,
        )
        return Networks.of(create_gan(spec, list(target.class_names)))


class QuickScratch(TinyScratch):
    """The same networks, of which the first layers' weights are trained by losses of their own.

    Its steps take batches and draws, move weights, moments and EMA, and are traced in a tenth of
    the time, for what schedules, files and resuming are tested with.
    """

    def stages(self, networks):
        return tuple(
            dataclasses.replace(stage, phases=tuple(map(_quick, stage.phases)))
            for stage in super().stages(networks)
        )


def _quick(phase: Phase) -> Phase:
    (trained,) = phase.trained

    def loss(p):
        network = p.networks[trained.network]
        seen = tf.reduce_mean(p.draws.normal(4))
        if phase.images:
            seen += tf.reduce_mean(
                p.images * tf.cast(p.labels + 1, tf.float32)[:, None, None, None]
            )
        away = network.linear.kernel + network.linear.bias - seen
        return Terms(
            {f"{phase.name}_loss": tf.reduce_mean(tf.square(away))}, {f"{phase.name}_seen": seen}
        )

    trained = dataclasses.replace(trained, patterns=("linear/.*",))
    return dataclasses.replace(phase, trained=(trained,), loss=loss)


class TinyTransfer(TinyScratch):
    """The same with a generator of whose variables those of the norms alone are trained."""

    def build(self, sources, target):
        networks = super().build(sources, target)
        spec = networks.spec
        generator = create_generator(spec, spectral_norm=False)
        return Networks.of(Gan(spec, generator, networks.discriminator, networks.class_names))

    def stages(self, networks):
        norms = Trained("generator", Adam.of(self.config.generator), (r".*norm\d/.*",))
        return Adversarial(self.config).single_stage("scratch", (norms,))
