"""Sources of one block at 8x8 pixels, of every form, with random values in every variable."""

import dataclasses
import functools

import numpy as np
from keras import ops

from cgt_tf.methods.base import DataSpec, variable_name
from cgt_tf.models.fold import ExtendedGenerator
from cgt_tf.models.gan import Gan, create_gan
from cgt_tf.models.spec import GanSpec

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
    fields |= {"d_widths": (8, 8, 8, 8), "d_halvings": 1, "d_attention": (4,)}
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
    extended = ExtendedGenerator([gan.generator, other], names)
    spec = dataclasses.replace(extended.spec, d_classes=len(OLD))
    return Gan(spec, extended.generator, gan.discriminator, extended.class_names)
