"""Layer-wise transfer: new classes whose first k norms are the learnt ones (figure 9 of Shahbazi et
al., CVPR 2021), from the old class that is nearest by the learnt scores to the new one itself.
"""

from collections.abc import Sequence

import numpy as np

from cgt_tf.drawing import similarity
from cgt_tf.drawing.rows import Row, create_row
from cgt_tf.drawing.sampler import GanSampler
from cgt_tf.errors import InputError, first_few
from cgt_tf.networks.domains import Domain, assembled, domains_of
from cgt_tf.networks.gan import Gan


def layer_rows(
    sampler: GanSampler, shares: dict, names: Sequence[str], seed: int, truncation: float = 1.0
) -> tuple[GanSampler, list[Row]]:
    """A row for each new class: none of its norms, the first one, the first two, ... all of them.

    Args:
        sampler: Of a run that keeps the old classes.
        shares: Shares of old classes, see `similarity.of_run`.
        names: New classes.
        seed: Of all latents.
        truncation: In (0, 1].

    Returns:
        What draws the rows, and these.

    Raises:
        InputError: a class that is none of the run's new ones.
    """
    extended, hybrids, rows = sampler.extended, [], []
    domains = domains_of(extended.generator, extended.class_names)
    for name in names:
        if name not in shares["new"]:
            raise InputError(
                f"expected classes that the run has learnt ({first_few(shares['new'])}), "
                f"got {name!r}"
            )
        old = similarity.nearest(shares, name)[0]
        (new_domain, old_domain) = (_only(domains, each) for each in (name, old))
        steps = _hybrids(new_domain, old_domain)
        told = [
            {"class": name, "label": None, "old_class": old, "layers": k} for k in range(len(steps))
        ]
        labels = np.arange(len(steps)) + len(hybrids)
        rows.append(create_row(f"{old} → {name}", labels, seed, truncation, told))
        hybrids += steps
    generator = assembled(extended.generator, hybrids)
    class_names = [each.class_names[0] for each in hybrids]
    return GanSampler(Gan(generator.spec, generator, None, class_names), class_names), rows


def _only(domains: Sequence[Domain], name: str) -> Domain:
    """One class of the last domain that has it."""
    return next(d for d in reversed(domains) if name in d.class_names).of_classes([name])


def _hybrids(new: Domain, old: Domain) -> list[Domain]:
    """Domains with the new class' rows in the first k norms, k = 0, 1, ... to all of them.

    Statistics and latent projections are the new class' own from k = 1 on.
    """
    norms = sorted({name.partition("/")[0] for name in new.rows}, key=_number)
    found = []
    for k in range(len(norms) + 1):
        first = set(norms[:k])
        rows = {n: (new if n.partition("/")[0] in first else old).rows[n] for n in new.rows}
        found.append(Domain((f"{k}",), rows, (new if k else old).shared))
    return found


def _number(name: str) -> tuple[int, str]:
    last = name.rpartition("_")[2]
    return (int(last), name) if last.isdigit() else (-1, name)
