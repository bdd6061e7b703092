"""The pseudo-classes of a run, which new classes are mixed from, as images (figure 8 of Shahbazi et
al., CVPR 2021): what an image is whose offsets are one row of the learnt tables in every norm.

Residuals are left out; convolutions, statistics and latent projections are those of the run's new
classes.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from keras import ops

from cgt_tf.drawing.rows import Row, create_row
from cgt_tf.drawing.sampler import GanSampler
from cgt_tf.errors import InputError, first_few
from cgt_tf.layers.spectral import SpectralDense
from cgt_tf.methods.registry import config_from_dict, create_method
from cgt_tf.networks.biggan import BaseGenerator
from cgt_tf.networks.domains import Domain, assembled, domains_of
from cgt_tf.networks.gan import Gan
from cgt_tf.runs.checkpoints import read_networks
from cgt_tf.runs.snapshots import Snapshot

_PARTS = {"scale": "scale_table", "shift": "shift_table"}
_EMBEDDING = "class_embedding"


def pseudo_class_sampler(snapshot: Snapshot) -> GanSampler:
    """Draws the pseudo-classes of a run, under the names of the old classes they started as.

    Where a run's pseudo-classes are not one for each old class that its model has, they are called
    by their numbers.

    Args:
        snapshot: The model at a checkpoint whose training state is there.

    Raises:
        InputError: a run without pseudo-classes, or no readable training state.
    """
    method = create_method(config_from_dict(snapshot.run.config()))
    if not method.has_pseudo_classes:
        raise InputError(
            "expected a run that learns pseudo-classes, which new classes are mixed from; got one "
            f"of {method.config.method.name} with the settings of {snapshot.run.path}"
        )
    extended = snapshot.extended()
    generator = extended.generator
    values = read_networks(snapshot.run, snapshot.step)["generator"]
    rows = _rows(generator, values)
    count = len(next(iter(rows.values())))
    new = set(snapshot.new_classes)
    old = [name for name in extended.class_names if name not in new]
    names = tuple(old if len(old) == count else map(str, range(count)))
    shared = domains_of(generator, extended.class_names)[-1].shared
    drawn = assembled(generator, [Domain(names, rows, shared)])
    return GanSampler(Gan(drawn.spec, drawn, None, list(names)), names)


def pseudo_class_rows(
    sampler: GanSampler, names: Sequence[str], seeds: Sequence[int], truncation: float
) -> list[Row]:
    """A row for each of some pseudo-classes, in the order of their numbers if none are named.

    Raises:
        InputError: a name that no pseudo-class has.
    """
    known, rows = list(sampler.class_names), []
    for name in names:
        if name not in known:
            raise InputError(
                f"expected pseudo-classes out of {len(known)} ({first_few(known)}), got {name!r}"
            )
        number = known.index(name)
        told = [{"class": name, "label": None, "pseudo_class": number}] * len(seeds)
        title = f"pseudo-class {name}"
        rows.append(create_row(title, [number] * len(seeds), seeds, truncation, told))
    return rows


def _rows(generator: BaseGenerator, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rows of all pseudo-classes, by the names that `Domain` has for them."""
    found, epsilon = {}, generator.spec.sn_eps
    for i, norm in enumerate(generator.conditional_norms()):
        name = re.search(r"block_\d+/norm\d+", norm.path)[0]
        for part, table in _PARTS.items():
            found[f"norm_{i}/{table}"] = _table(values, f"{name}/{part}", epsilon)
    if generator.class_embedding is not None:
        found[f"{_EMBEDDING}/kernel"] = _table(values, _EMBEDDING, epsilon)
    return found


def _table(values: Mapping[str, np.ndarray], name: str, epsilon: float) -> np.ndarray:
    """Offsets [N, C] of the pseudo-classes in one scale or shift, as `PropagatedOffsets` folds."""
    kernel = values[f"{name}/prior/kernel"]
    u = values.get(f"{name}/prior/u")
    prior = SpectralDense(
        kernel.shape[1], use_bias=False, spectral_norm=u is not None, sn_eps=epsilon
    )
    prior.build((None, len(kernel)))
    prior.kernel.assign(kernel)
    if u is not None:
        prior.u.assign(u)
    table = ops.convert_to_numpy(prior.normalized_kernel(False))
    for bias in (f"{name}/prior/bias", f"{name}/latent/bias"):
        table = table + values.get(bias, 0)
    return table
