"""A method of one file: a third network before the generator, a teacher, and two stages."""

import dataclasses

from cgt_tf.config import knob
from cgt_tf.methods.base import DataSpec, TransferMethod
from cgt_tf.methods.phases import Adam, Stage, Trained
from cgt_tf.methods.run_networks import Networks


@dataclasses.dataclass(kw_only=True)
class ToySettings:
    mine_steps: int = knob(2, "steps of the first stage, which trains the miner alone")
    distil: float = knob(0.5, "weight of the discriminator's distance to the source's features")


class ToyMiner(TransferMethod):
    """Finds the new classes among the source's latents and class vectors."""

    Settings = ToySettings
    ema_networks = ("generator", "miner")

    def build(self, sources, target: DataSpec) -> Networks:
        import numpy as np

        from cgt_tf.methods.transfer import transferred_discriminator
        from cgt_tf.networks.fold import copy_all
        from cgt_tf.networks.gan import create_generator
        from cgt_tf.networks.mined import AffineMiner

        (source,) = sources
        count, dim = len(target.class_names), source.spec.dim_z
        generator = create_generator(source.spec, initializer="zeros")
        copy_all(source.generator, generator)
        spec = dataclasses.replace(source.spec, num_classes=count)
        mined = dataclasses.replace(spec, wrapper="mined", table_classes=source.spec.num_classes)
        miner = AffineMiner(mined, name="miner")
        miner.build((None, dim))
        miner.latent_kernel.assign(np.broadcast_to(np.eye(dim), (count, dim, dim)))
        table = np.asarray(source.generator.class_embedding.table())
        miner.class_bias.assign(np.broadcast_to(table.mean(axis=0), miner.class_bias.shape))
        return Networks(
            spec,
            list(target.class_names),
            generator,
            transferred_discriminator(source, spec, self.config),
            {"miner": miner},
            {"source_discriminator": source.discriminator},
        )

    def stages(self, networks: Networks) -> tuple[Stage, ...]:
        from keras import ops

        from cgt_tf.methods.adversarial import Adversarial

        count = networks.spec.num_classes

        def generate(p, z, classes, training):
            weights = ops.one_hot(classes, count)
            return p.networks.generator(*p.networks["miner"](z, weights), training=training)

        def quiet(p, seen):
            return {"first_layer": 0.01 * ops.mean(ops.square(seen.generated[1]["linear"]))}

        def distil(p, seen):
            ours = seen.judged[1]["block_0"]
            images = ops.concatenate([p.images, seen.generated[0]])
            labels = ops.zeros(images.shape[0], "int32")
            theirs = p.networks["source_discriminator"](images, labels)[1]["block_0"]
            return {"distil": self.settings.distil * ops.mean(ops.square(ours - theirs))}

        harness = Adversarial(
            self.config, generate=generate, terms=quiet, discriminator_terms=distil
        )
        adam = Adam.of(self.config.generator)
        miner = Trained("miner", adam)
        # The class' own vector takes the place of the source's table.
        weights = Trained("generator", adam, (r"(?!class_embedding/).*",))
        judge = harness.discriminator()
        mine = harness.generator((miner,), name="mine")
        joint = harness.generator((miner, weights), name="joint")
        return (
            Stage("mine", self.settings.mine_steps, (judge, mine)),
            Stage("joint", self.config.training.steps, (judge, joint)),
        )

    def extended(self, networks: Networks):
        from cgt_tf.networks.extended import ExtendedGenerator
        from cgt_tf.networks.gan import create_generator

        miner, generator = networks["miner"], networks.generator
        mined = create_generator(miner.spec, initializer="zeros")

        def refold():
            values = {v.path.partition("/")[2]: v for v in generator.variables}
            values |= {f"miner/{v.name}": v for v in miner.variables}
            for variable in mined.variables:
                variable.assign(values[variable.path.partition("/")[2]])

        refold()
        return ExtendedGenerator(mined, networks.class_names, refold)
