"""What the pseudo-classes of cGANTransfer are made of: the old classes, or controls of them.

Controls take one kind of knowledge away and leave the rest of the method as it is (ours). With o
the mean of the N old classes' offsets [N, C] and P~ their deviations from it, for each scale and
shift:

- `old`: the old classes as they are, o + P~.
- `permuted`: o + P~ with its columns in another order, the same for all classes. How classes lie to
  each other, and how large their deviations are, stays; which channel does what is lost.
- `random`: o + G P~ / sqrt(N) with normal G [n, N], drawn apart for each scale and shift: rows of
  the old classes' mean and covariance that are no class, and that no two layers agree on.
- `mean`: one row, o, which all new classes have in common, with scores of 1 that are not trained.
  Without residuals all new classes are alike.

`prior_classes` keeps some of the old classes only.
"""

import dataclasses

import numpy as np

from cgt_tf.config import knob
from cgt_tf.config_checks import at_least, one_of
from cgt_tf.errors import InputError

_INITS = ("old", "permuted", "random", "mean")
_CHOICES = ("nearest", "random")
# Keys of the draws, beside the run's seed.
_ROWS, _TABLES = 1, 2


@dataclasses.dataclass(kw_only=True)
class PriorSettings:
    """Of what the pseudo-classes are made."""

    prior_init: str = knob(
        "old", "pseudo-classes: the old classes; controls: permuted channels, random, one mean"
    )
    prior_classes: int = knob(0, "so many old classes as pseudo-classes; 0: all")
    prior_choice: str = knob("nearest", "of these: nearest to the new classes' images, or random")

    def check_prior(self, name: str, scores_init: str) -> None:
        """`InputError` for values out of range, or that do not go with the start of the scores."""
        one_of(f"{name}.prior_init", self.prior_init, _INITS)
        one_of(f"{name}.prior_choice", self.prior_choice, _CHOICES)
        at_least(f"{name}.prior_classes", self.prior_classes, 0)
        allowed = {"mean": ("uniform",), "random": ("uniform", "random", "orthogonal")}
        starts = allowed.get(self.prior_init)
        if starts and scores_init not in starts:
            raise InputError(
                f"expected --config.{name}.scores_init={' or '.join(starts)} with "
                f"prior_init={self.prior_init}, whose rows are no old classes, got {scores_init!r}"
            )
        if self.prior_init == "mean" and self.prior_classes:
            raise InputError(
                f"expected --config.{name}.prior_classes=0 with prior_init=mean, the mean of all, "
                f"got {self.prior_classes}"
            )

    @property
    def trains_scores(self) -> bool:
        """False where there is but one pseudo-class for all."""
        return self.prior_init != "mean"

    @property
    def looks_at_images(self) -> bool:
        """Whether the images of the new classes say which old classes are taken."""
        chosen = self.prior_classes and self.prior_choice == "nearest"
        return bool(chosen) and self.prior_init in ("old", "permuted")


def prior_size(num_classes: int, settings: PriorSettings) -> int:
    """Number of pseudo-classes of a source with so many classes."""
    if settings.prior_init == "mean":
        return 1
    return min(settings.prior_classes or num_classes, num_classes)


def prior_rows(
    num_classes: int,
    settings: PriorSettings,
    seed: int,
    similarities: np.ndarray | None = None,
) -> np.ndarray:
    """Indices of the old classes that are pseudo-classes, ascending.

    The nearest ones are picked one by one, each such that the new classes are together nearest to
    what is picked: one close to some new class before one that is middling to all.

    Args:
        num_classes: N, of the source.
        settings: How many, and which.
        seed: Seed of a random choice.
        similarities: Log q [M, N], see `methods.discriminant`; without, a choice by nearness is
            left open: the first ones stand for it until the images are there.
    """
    size = min(settings.prior_classes or num_classes, num_classes)
    if size == num_classes:
        return np.arange(num_classes)
    if settings.prior_choice == "random":
        rng = np.random.default_rng([seed, _ROWS])
        return np.sort(rng.choice(num_classes, size, replace=False))
    if similarities is None:
        return np.arange(size)
    return np.sort(_nearest_together(-similarities, size))


def _nearest_together(distances: np.ndarray, size: int) -> np.ndarray:
    """Columns of distances [M, N], greedily by the sum over rows of the least distance picked."""
    picked: list[int] = []
    reached = np.full((len(distances), 1), np.inf)
    # Where another pick brings nothing, what is nearest to any new class comes first.
    least = distances.min(axis=0)
    for _ in range(size):
        totals = np.minimum(reached, distances).sum(axis=0)
        totals[picked] = np.inf
        picked.append(int(np.lexsort((least, totals))[0]))
        reached = np.minimum(reached, distances[:, picked[-1:]])
    return np.array(picked)


def table_rng(seed: int) -> np.random.Generator:
    """Of the draws of `prior_table`, for one scale or shift after the other."""
    return np.random.default_rng([seed, _TABLES])


def prior_table(
    table: np.ndarray, rows: np.ndarray, settings: PriorSettings, rng: np.random.Generator
) -> np.ndarray:
    """Pseudo-classes float32 [n, C] of one scale or shift.

    Args:
        table: Offsets of all old classes [N, C].
        rows: The old classes that are taken, see `prior_rows`; `random` uses only their number.
        settings: What is made of them.
        rng: See `table_rng`.
    """
    if settings.prior_init == "old":
        return table[rows]
    mean = table.mean(axis=0)
    if settings.prior_init == "mean":
        return mean[None].astype(np.float32)
    deviations = table - mean
    if settings.prior_init == "permuted":
        made = deviations[rows][:, rng.permutation(table.shape[1])]
    else:
        made = rng.normal(size=(len(rows), len(table))) @ deviations / np.sqrt(len(table))
    return (mean + made).astype(np.float32)
