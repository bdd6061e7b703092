"""Sources of one block at 8x8 pixels, of every form, with random values in every variable.

And what tests read from a method's stages.
"""

import dataclasses
import functools

import numpy as np
import tensorflow as tf
from keras import ops

from cgt_tf.methods.base import DataSpec
from cgt_tf.methods.phases import Microbatch
from cgt_tf.networks.extended import fold_together
from cgt_tf.networks.gan import Gan, create_gan
from cgt_tf.networks.spec import GanSpec
from cgt_tf.networks.weights import select_variables, variable_name
from cgt_tf.training.draws import Draws

OLD = tuple(f"old{i}" for i in range(5))
TARGET = DataSpec(("x", "y", "z"), 8)
FORMS = {
    "shared_hierarchical": {"shared_dim": 6, "hierarchical": True},
    "table": {},
    "deep": {"architecture": "biggan_deep", "shared_dim": 6},
    "truncation_grid": {"shared_dim": 6, "truncation_grid": (0.0, 0.5, 1.0)},
    "folded": {"shared_dim": 6, "hierarchical": True},
    "folded_deep": {"architecture": "biggan_deep", "shared_dim": 6},
}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def values(network) -> dict:
    return {variable_name(v): ops.convert_to_numpy(v) for v in network.variables}


def randomize(network) -> None:
    for i, variable in enumerate(network.variables):
        value = normal(*variable.shape, seed=i)
        positive = variable.name == "moving_variance"
        variable.assign(np.abs(value) + 0.5 if positive else value / 2)


@functools.cache
def tiny_source(form: str) -> Gan:
    """Shared by all tests, which must leave it as it is."""
    fields = {"resolution": 8, "num_classes": 5, "dim_z": 8, "g_widths": (8, 8)}
    fields |= {"d_widths": (8, 8, 8), "d_halvings": 1, "d_attention": (4,)}
    gan = create_gan(GanSpec(**{**fields, **FORMS[form]}), list(OLD))
    for network in (gan.generator, gan.discriminator):
        randomize(network)
    if not form.startswith("folded"):
        return gan
    # Two domains, of which the second differs in what belongs to a domain alone.
    other = create_gan(gan.spec, [f"other{i}" for i in range(5)]).generator
    for variable, value in zip(other.variables, gan.generator.variables, strict=True):
        variable.assign(value)
    for norm in other.conditional_norms():
        norm.moving_mean.assign(norm.moving_mean + 1.0)
        norm.scale.kernel.assign(norm.scale.kernel + 0.5)
    names = [gan.class_names, [f"other{i}" for i in range(5)]]
    extended = fold_together([gan.generator, other], names)
    spec = dataclasses.replace(extended.spec, d_classes=len(OLD))
    return Gan(spec, extended.generator, gan.discriminator, extended.class_names)


def trained_variables(networks, stage, name: str) -> list:
    """What a stage trains of the network with a name, phase by phase."""
    parts = [part for phase in stage.phases for part in phase.trained if part.network == name]
    variables = networks[name].trainable_variables
    return [v for part in parts for v in select_variables(variables, part.patterns)]


def minimized(networks, stage) -> dict[str, float]:
    """The terms of a stage's last phase, a generator's, in a pass of two images."""
    draws = Draws(0, 2, tf.distribute.get_strategy()).of_microbatch(tf.constant(0, tf.int64))
    given = Microbatch(
        networks=networks,
        step=tf.constant(0, tf.int64),
        update=tf.constant(0, tf.int64),
        images=None,
        labels=None,
        indices=None,
        draws=draws,
        augment=lambda images, stream: images,
    )
    terms = stage.phases[-1].loss(given)
    return {name: float(value) for name, value in terms.minimized.items()}


def penalties(networks, stage) -> dict[str, float]:
    """What a generator minimises besides the adversarial loss."""
    terms = minimized(networks, stage)
    del terms["generator_loss"]
    return terms
