"""From a run of the first stage of cGANTransfer to fine-tuning (section 5.4 of the paper)."""

import numpy as np
from keras import ops

from cgt_tf.errors import InputError
from cgt_tf.methods.run_networks import Networks
from cgt_tf.networks.biggan import BaseGenerator
from cgt_tf.networks.weights import variable_name
from cgt_tf.runs import saved
from cgt_tf.runs.checkpoints import read_networks
from cgt_tf.runs.run_dir import RunDir


def take_over(networks: Networks, directory: str, checkpoint: str) -> None:
    """Puts into the networks all that a run trained; the source's weights stay as they are.

    The first stage divides its frozen kernels by their spectral norms; in fine-tuning they are the
    source's own, with their power vectors.

    Args:
        networks: Built for fine-tuning, from the same source.
        directory: Directory of the run.
        checkpoint: `best`, `last` or a step; its EMA is taken.

    Raises:
        InputError: no such checkpoint, other classes, settings or weights of the source; nothing
            is changed then.
    """
    run = RunDir(directory)
    names = list(run.class_names())
    step = run.resolve_checkpoint(checkpoint, saved.STATE)
    if names != networks.class_names:
        raise InputError(
            f"expected the classes of the run {directory}, {', '.join(names)}, "
            f"got {', '.join(networks.class_names)}"
        )
    earlier = read_networks(run, step)
    layers = networks.generator.spectral_layers()
    kept = {id(layer.kernel) for layer in layers}
    kept |= {id(layer.u) for layer in layers if layer.spectral_norm}
    pairs = []
    for name, network in networks.named.items():
        pairs += _matched(network.variables, earlier.get(name, {}), kept, directory)
    _check_source(networks.generator, earlier["generator"], directory)
    for variable, value in pairs:
        variable.assign(value)


def _matched(variables: list, earlier: dict, kept: set[int], directory: str) -> list[tuple]:
    """Pairs of each variable that is not kept and the earlier value of its name."""
    ours = {(variable_name(v), tuple(v.shape)): v for v in variables}
    theirs = {(name, value.shape): value for name, value in earlier.items()}
    needed = {key for key, variable in ours.items() if id(variable) not in kept}
    for missing, text in ((needed - theirs.keys(), "no"), (theirs.keys() - ours.keys(), "also")):
        if missing:
            name, shape = min(missing)
            raise InputError(
                f"expected {directory} to be a run with the same settings, it has "
                f"{text} {name} {list(shape)}"
            )
    return [(ours[key], theirs[key]) for key in sorted(needed)]


def _check_source(generator: BaseGenerator, earlier: dict, directory: str) -> None:
    for layer in generator.spectral_layers():
        name = variable_name(layer.kernel)
        ours = ops.convert_to_numpy(layer.normalized_kernel(False))
        if not np.allclose(ours, earlier[name], rtol=1e-3, atol=1e-5):
            raise InputError(
                f"expected {directory} to be a run of the stage propagate from --config.source, "
                f"but its {name} is not the source's"
            )
