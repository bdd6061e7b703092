"""One step of a tiny GAN on the running Keras backend: images, logits, gradients, statistics.

    KERAS_BACKEND=jax python tests/conformance/backend_step.py <kind> <file.npz>

As a module, on TensorFlow: `step(kind)`.
"""

import sys

import keras
import numpy as np
from keras import ops

from cgt_tf.networks.gan import create_discriminator, create_generator
from cgt_tf.networks.spec import GanSpec
from cgt_tf.networks.weights import by_name

_TINY = {"resolution": 16, "num_classes": 3, "g_widths": (8, 8, 4), "d_widths": (8, 8)}
_TINY |= {"d_halvings": 1, "d_attention": (8,), "g_attention": (8,)}
SPECS = {
    "shared": GanSpec(**_TINY, dim_z=6, shared_dim=5),
    "tables": GanSpec(**_TINY, dim_z=4, shared_dim=0, hierarchical=False),
    "deep": GanSpec(**_TINY, dim_z=4, shared_dim=5, architecture="biggan_deep"),
}


def step(kind: str) -> dict[str, np.ndarray]:
    """All arrays of a step by name; weights and inputs are drawn with NumPy."""
    rng = np.random.default_rng(3)
    spec = SPECS[kind]
    networks = {
        "g": create_generator(spec, initializer="zeros"),
        "d": create_discriminator(spec, initializer="zeros"),
    }
    for network in networks.values():
        for name, variable in sorted(by_name(network).items()):
            if "moving" not in name:
                variable.assign(rng.normal(size=variable.shape).astype(np.float32) * 0.3)
    z = rng.normal(size=(4, spec.dim_z)).astype(np.float32)
    labels = np.array([0, 1, 2, 1])
    run = _tensorflow if keras.backend.backend() == "tensorflow" else _jax
    return run(networks, z, labels)


def _loss(images, logits):
    return ops.mean(ops.softplus(-logits)) + 0.1 * ops.mean(ops.square(images))


def _tensorflow(networks, z, labels):
    import tensorflow as tf

    generator, discriminator = networks["g"], networks["d"]
    with tf.GradientTape() as tape:
        images, _ = generator(z, labels, training=True)
        logits, _ = discriminator(images, labels, training=True)
        loss = _loss(images, logits)
    variables = {n: v for n, v in _named(networks) if v.trainable}
    gradients = dict(zip(variables, tape.gradient(loss, list(variables.values())), strict=True))
    state = {n: v for n, v in _named(networks) if not v.trainable}
    return _arrays(images, logits, gradients, state)


def _jax(networks, z, labels):
    import jax

    generator, discriminator = networks["g"], networks["d"]
    values = {k: [v.value for v in n.trainable_variables] for k, n in networks.items()}
    others = {k: [v.value for v in n.non_trainable_variables] for k, n in networks.items()}

    def loss(values):
        (images, _), moved_g = generator.stateless_call(
            values["g"], others["g"], z, labels, training=True
        )
        (logits, _), moved_d = discriminator.stateless_call(
            values["d"], others["d"], images, labels, training=True
        )
        return _loss(images, logits), (images, logits, {"g": moved_g, "d": moved_d})

    step = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (_, (images, logits, moved)), slopes = step(values)
    gradients, state = {}, {}
    for key, network in networks.items():
        named = {id(v): f"{key}/{name}" for name, v in by_name(network).items()}
        gradients |= _zip(named, network.trainable_variables, slopes[key])
        state |= _zip(named, network.non_trainable_variables, moved[key])
    return _arrays(images, logits, gradients, state)


def _named(networks):
    for key, network in networks.items():
        yield from ((f"{key}/{name}", v) for name, v in by_name(network).items())


def _zip(named, variables, values):
    return {named[id(v)]: value for v, value in zip(variables, values, strict=True)}


def _arrays(images, logits, gradients, state):
    arrays = {"images": images, "logits": logits}
    arrays |= {f"gradient of {name}": value for name, value in gradients.items()}
    arrays |= {f"state {name}": value for name, value in state.items()}
    return {name: ops.convert_to_numpy(value) for name, value in arrays.items()}


if __name__ == "__main__":
    np.savez(sys.argv[2], **step(sys.argv[1]))
