"""A small source, what was transferred from it, and how exports are compared with them."""

import keras
import numpy as np

from cgt_tf.methods.base import DataSpec
from cgt_tf.methods.registry import create_config, create_method
from cgt_tf.networks.gan import create_gan
from cgt_tf.networks.spec import GanSpec, biggan_spec

OLD, NEW = ["Ä", "b", "c"], ["Γάμμα", "Ж"]
SPECS = {
    "projected": GanSpec(
        resolution=32,
        num_classes=len(OLD),
        dim_z=16,
        g_widths=(8, 8, 4, 4),
        d_widths=(4, 4, 8, 8),
        d_halvings=3,
        hierarchical=True,
        shared_dim=8,
    ),
    "table": biggan_spec(32, len(OLD), channels=4),
}


def transfer(spec):
    """A source, the transferred networks and both folded; all statistics and gains differ."""
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(0)
    source = create_gan(spec, OLD)
    for variable in source.generator.variables:
        perturb_norm(variable, rng)
    method = create_method(create_config("cgan_transfer"))
    networks = method.build((source,), DataSpec(tuple(NEW), spec.resolution))
    for variable in networks.generator.variables:
        # Gain and bias of the output norm are not trained, and so stay equal in both.
        if not variable.path.endswith(("/output_norm/gain", "/output_norm/bias")):
            perturb_norm(variable, rng)
    return source, networks, method.extended(networks)


def perturb_norm(variable, rng):
    if "norm" in variable.path and not variable.path.endswith("/u"):
        value = keras.ops.convert_to_numpy(variable)
        variable.assign(value + np.abs(rng.normal(scale=0.3, size=value.shape)))


def latents(count, dim_z):
    return np.random.default_rng(5).normal(size=(count, dim_z)).astype(np.float32)


def close(images, wanted):
    """Equal but for values that float rounding moves across the limit between two grey levels."""
    difference = np.abs(images.astype(np.int32) - wanted.astype(np.int32))
    assert difference.max() <= 1 and (difference > 0).mean() < 1e-3
