"""Add new classes to a pretrained class-conditional GAN from a few images per class.

    run = cgt_tf.transfer("bundled:cifar80", "photos/", "runs/photos", training={"steps": 600})
    run.grid().save("grid.png")

    gan = cgt_tf.load_source("bundled:glyphs32")
    images, endpoints = gan.generator(z, labels)

`cgt_tf.evaluation` has the metrics, and the `cgt-*` commands do everything else.
"""

import importlib

from cgt_tf.version import VERSION

__version__ = VERSION

# Loaded on first use, so that `import cgt_tf` and `--help` do not wait for TensorFlow.
_LAZY = {
    "transfer": ("cgt_tf.api", "transfer"),
    "Run": ("cgt_tf.api", "Run"),
    "load_source": ("cgt_tf.runs.handles", "load_source"),
    "Gan": ("cgt_tf.networks.gan", "Gan"),
    "GanSpec": ("cgt_tf.networks.spec", "GanSpec"),
    "InputError": ("cgt_tf.errors", "InputError"),
    "evaluation": ("cgt_tf.evaluation", None),
}
__all__ = [*_LAZY]


def __dir__():
    return [*__all__, "__version__"]


def __getattr__(name):
    if name not in _LAZY:
        raise AttributeError(f"module 'cgt_tf' has no attribute {name!r}")
    module_name, attribute = _LAZY[name]
    module = importlib.import_module(module_name)
    return getattr(module, attribute) if attribute else module
