"""The classes of a folded generator as parts that can be taken out and put together again.

A domain is a group of classes with batch-norm statistics and latent projections in common: a
source's own classes, or those that one run has learnt. All else in a folded generator is the same
for all classes (`fold.copy_unconditional`).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from keras import ops

from cgt_tf.networks.biggan import BaseGenerator
from cgt_tf.networks.fold import STATISTICS, copy_unconditional
from cgt_tf.networks.gan import create_generator

_ROWS, _LATENTS = ("scale_table", "shift_table"), ("scale_latent", "shift_latent")
_EMBEDDING = "class_embedding/kernel"


@dataclasses.dataclass(frozen=True, eq=False)
class Domain:
    """Classes of one domain.

    Attributes:
        class_names: Their names, in order.
        rows: Arrays [k, ...] of one row a class, by name.
        shared: Arrays of the domain, by name: latent projections, and statistics [T, C].
    """

    class_names: tuple[str, ...]
    rows: dict[str, np.ndarray]
    shared: dict[str, np.ndarray]

    def of_classes(self, names: Sequence[str]) -> "Domain":
        """Some of its classes, in this order."""
        chosen = [self.class_names.index(name) for name in names]
        rows = {name: array[chosen] for name, array in self.rows.items()}
        return Domain(tuple(names), rows, self.shared)


def domains_of(generator: BaseGenerator, class_names: Sequence[str]) -> list[Domain]:
    """The domains of a folded generator, in label order.

    Args:
        generator: Folded, with class tables (not behind a wrapper).
        class_names: Names of all its classes.
    """
    spec = generator.spec
    counts, start, found = spec.domain_classes, 0, []
    rows, shared = _rows(generator), _shared(generator, len(counts))
    for domain, count in enumerate(counts):
        part = slice(start, start + count)
        found.append(
            Domain(
                tuple(class_names[part]),
                {name: array[part] for name, array in rows.items()},
                {name: arrays[domain] for name, arrays in shared.items()},
            )
        )
        start += count
    return found


def assembled(generator: BaseGenerator, domains: Sequence[Domain]) -> BaseGenerator:
    """A folded generator of other domains.

    Args:
        generator: Folded; all that does not depend on the class is taken from it.
        domains: At least one, of generators whose class-independent weights are equal to these.

    Raises:
        ValueError: arrays of other shapes.
    """
    counts = tuple(len(domain.class_names) for domain in domains)
    spec = dataclasses.replace(generator.spec, num_classes=sum(counts), domain_classes=counts)
    new = create_generator(dataclasses.replace(spec, d_classes=0), initializer="zeros")
    copy_unconditional(generator, new)
    for name, variable in _row_variables(new).items():
        variable.assign(np.concatenate([domain.rows[name] for domain in domains]))
    for name, variable in _shared_variables(new).items():
        parts = [domain.shared[name] for domain in domains]
        variable.assign(np.concatenate(parts).reshape(variable.shape))
    return new


def common_weights(generator: BaseGenerator) -> dict[str, np.ndarray]:
    """All that does not depend on the class, by name; what domains of one source agree in."""
    arrays = {}
    for i, layer in enumerate(generator.spectral_layers()):
        arrays[f"layer_{i}/kernel"] = ops.convert_to_numpy(layer.kernel)
        if layer.use_bias:
            arrays[f"layer_{i}/bias"] = ops.convert_to_numpy(layer.bias)
    for key, attention in generator.attentions.items():
        arrays[f"attention_{key}/gain"] = ops.convert_to_numpy(attention.gain)
    arrays["output/gain"] = ops.convert_to_numpy(generator.output_norm.gain)
    arrays["output/bias"] = ops.convert_to_numpy(generator.output_norm.bias)
    return arrays


def _row_variables(generator: BaseGenerator) -> dict:
    norms = enumerate(generator.conditional_norms())
    found = {f"norm_{i}/{name}": getattr(norm, name) for i, norm in norms for name in _ROWS}
    if generator.class_embedding is not None:
        found[_EMBEDDING] = generator.class_embedding.kernel
    return found


def _shared_variables(generator: BaseGenerator) -> dict:
    found = {}
    for i, norm in enumerate(generator.conditional_norms()):
        names = (*STATISTICS, *(_LATENTS if norm.latent_dim else ()))
        found |= {f"norm_{i}/{name}": getattr(norm, name) for name in names}
    output = generator.output_norm
    return found | {f"output/{name}": getattr(output, name) for name in STATISTICS}


def _rows(generator: BaseGenerator) -> dict[str, np.ndarray]:
    return {name: ops.convert_to_numpy(v) for name, v in _row_variables(generator).items()}


def _shared(generator: BaseGenerator, count: int) -> dict[str, list[np.ndarray]]:
    """Arrays of each domain, by name."""
    found = {}
    for name, variable in _shared_variables(generator).items():
        found[name] = np.split(
            ops.convert_to_numpy(variable).reshape(-1, variable.shape[-1]), count
        )
    return found
