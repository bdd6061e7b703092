"""FLD: a likelihood that copies of training images make worse, and the gap that gives them away.

Jiralerspong et al., "Feature Likelihood Divergence: Evaluating the Generalization of Generative
Models Using Samples" (NeurIPS 2023). The generated images are the centres of a mixture of Gaussians
whose widths are fitted to the training images; the score is the likelihood of held-out images. On a
copy of a training image the width shrinks to nothing, and the copy then explains no other image.
As in the authors' released code but for the fit: widths by expectation maximisation, which needs
no step size, instead of Adam.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from cgt_tf.metrics import distances
from cgt_tf.metrics.metric import LOWER, Comparison, Found, Metric

# Copying: a gap surely below the first, where training images are e^(0.2 d) times as likely as
# held-out ones, or a value above the second, which is what the authors' code warns of.
_COPIED, _MEMORISED = -20.0, 1000.0
_SURE = 3.0  # Standard errors.
# Of the authors' code: most centres of a mixture, share of the way to the mean at which the broad
# component of the fit sits, and the least squared distance that a width stands for.
_MOST_CENTRES = 10_000
_TOWARDS_MEAN = 0.1
_LEAST_SQUARED = 1e-3
_MOST_UPDATES = 50
_CONVERGED = 1e-3  # Gain of the mean log-likelihood a feature and update: 0.1 of FLD.
_KEPT_NUMBERS = 2**24  # Distances that are kept between updates: 128 MB.


@dataclasses.dataclass(frozen=True)
class LikelihoodDivergence:
    """FLD and its gap; both are 100 times negative log-likelihoods a feature.

    The real mixture, which both are measured from, has one half of the training images as centres
    and is fitted to the other half.

    Attributes:
        value: Value of the held-out images under the generated images' mixture, less that under the
            real one. 0: as good as real images, below: better. Where all images are copies it is
            far above 1,000; where half of them are, it is hardly higher.
        gap: Gap of the training images less that of the held-out ones under the generated images'
            mixture, and this less the same of the real mixture. Near 0 for images that are as near
            to held-out as to training images, be they good or bad; -20 to -30 where one in twenty
            is a copy, -200 where half are. (The authors' gap is not measured from the real one's.)
        gap_error: Standard error of the gap over the images that are scored.
    """

    value: float
    gap: float
    gap_error: float


def is_copying(value: float, gap: float, gap_error: float) -> bool:
    """Whether a `LikelihoodDivergence` of these numbers tells of copied training images.

    True for a gap below -20 by more than three standard errors, and for values above 1,000: all
    generated images are copies then, and of a few images in few features no gap is sure.
    """
    return gap + _SURE * gap_error < _COPIED or value > _MEMORISED


def feature_likelihood_divergence(
    training: np.ndarray, heldout: np.ndarray, fake: np.ndarray, seed: int = 0
) -> LikelihoodDivergence:
    """FLD of generated images, which were learnt from the training images.

    Features are brought to mean 0 and variance 1 of the held-out ones; those that are constant
    there are left out.

    Args:
        training: Features of the images that the generator was trained on [n, d], n >= 4.
        heldout: Features of real images that it was not trained on [h, d], h >= 2, not all equal.
        fake: Features of the generated images [m, d], m >= 2; of more than 10,000 as many are
            drawn.
        seed: Seed of that draw and of the halves of the training images.

    Returns:
        See `LikelihoodDivergence`. Comparable for equal n and m only: with few training images the
        real mixture is poor, and values fall. Time grows with n m d; memory stays at the size of
        the features in float64 plus 0.5 GB.

    Raises:
        InputError: not 2-D, too few samples, NaN, different widths, held-out samples that are all
            equal, or an overflow.
    """
    training = distances.check_features(training, "training", minimum=4)
    heldout = distances.check_features(heldout, "held-out")
    fake = distances.check_features(fake, "generated")
    distances.check_widths(training.shape[1], heldout.shape[1], "held-out")
    distances.check_widths(training.shape[1], fake.shape[1])
    distances.check_not_constant(heldout)
    generator = np.random.default_rng(seed)
    if len(fake) > _MOST_CENTRES:
        fake = fake[generator.permutation(len(fake))[:_MOST_CENTRES]]
    with np.errstate(over="ignore", invalid="ignore"):  # reported below
        training, heldout, fake = _standardised(training, heldout, fake)
        halves = training[generator.permutation(len(training))]
        size = min(len(fake), len(training) // 2)
        own = _costs(fake, training, heldout)
        real = _costs(halves[:size], halves[size:], heldout)
    result = LikelihoodDivergence(
        100.0 * float(own[1].mean() - real[1].mean()),
        100.0 * float(own[0].mean() - own[1].mean() - real[0].mean() + real[1].mean()),
        # The held-out images are the same under both mixtures.
        100.0 * float(_variance(own[0]) + _variance(real[0]) + _variance(own[1] - real[1])) ** 0.5,
    )
    distances.check_finite(
        np.array(dataclasses.astuple(result)), "training, held-out and generated"
    )
    return result


def _standardised(
    training: np.ndarray, heldout: np.ndarray, fake: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All three in float64, by mean and deviation of the held-out features."""
    varied = np.flatnonzero((heldout != heldout[0]).any(axis=0))
    reference = heldout[:, varied].astype(np.float64)
    mean, deviation = reference.mean(axis=0), reference.std(axis=0, ddof=1)
    training, fake = (
        (rows[:, varied].astype(np.float64) - mean) / deviation for rows in (training, fake)
    )
    return training, (reference - mean) / deviation, fake


def _variance(values: np.ndarray) -> float:
    """Of their mean."""
    return float(values.var(ddof=1)) / len(values)


def _costs(
    centres: np.ndarray, fitted: np.ndarray, heldout: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Negative log-likelihood a feature of each row that a mixture is fitted to, and held out."""
    variances = _fitted_variances(centres, fitted)
    return tuple(_cost(rows, centres, variances) for rows in (fitted, heldout))


def _cost(rows: np.ndarray, centres: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Of each row [k] under isotropic Gaussians of equal weight: centres [m, d], variances [m]."""
    costs, width = np.empty(len(rows)), rows.shape[1]
    for start, squared in _Blocks(rows, centres):
        logs = _log_densities(squared, variances, width)
        top = logs.max(axis=1)
        logs -= top[:, None]
        means = np.exp(logs, out=logs).mean(axis=1)
        costs[start : start + len(squared)] = -(top + np.log(means)) / width
    return costs


def _fitted_variances(centres: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The variances [m] under which the rows [n, d] are likely, by expectation maximisation.

    A broad component around the rows' mean, of weight 1 and no part of the result, bounds the
    likelihood of rows from below, so that no centre widens for the sake of one far row.
    """
    width = rows.shape[1]
    far = (1.0 - _TOWARDS_MEAN) ** 2 * np.square(rows - rows.mean(axis=0)).sum(axis=1)
    kept = len(rows) * len(centres) <= _KEPT_NUMBERS
    blocks = list(_Blocks(rows, centres)) if kept else _Blocks(rows, centres)
    nearest = np.full(len(centres), np.inf)
    for _, squared in blocks:
        np.minimum(nearest, squared.min(axis=0), out=nearest)
    least = _LEAST_SQUARED / width
    # The broad component's comes last.
    variances, before = np.append(nearest / width + least, 1.0), -np.inf
    for _ in range(_MOST_UPDATES):
        shares, spread, likelihood = _expectation(blocks, far, variances, width)
        mean = likelihood / len(rows) / width
        if not mean - before > _CONVERGED:
            break
        before = mean
        # Centres that no row is near keep their width.
        chosen = shares > np.finfo(np.float64).tiny
        variances[chosen] = np.maximum(spread[chosen] / shares[chosen] / width, least)
    return variances[:-1]


def _expectation(
    blocks: Iterable[tuple[int, np.ndarray]], far: np.ndarray, variances: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Of each component, the broad one last: its share of the rows, and their squared distances.

    The third is the log-likelihood of all rows.
    """
    shares, spread, likelihood = np.zeros(len(variances)), np.zeros(len(variances)), 0.0
    for start, squared in blocks:
        part = far[start : start + len(squared)]
        logs = _log_densities(squared, variances[:-1], width)
        logs -= np.log(len(variances) - 1)
        other = _log_densities(part, variances[-1], width)
        top = np.maximum(logs.max(axis=1), other)
        logs -= top[:, None]
        weights, other = np.exp(logs, out=logs), np.exp(other - top)
        total = weights.sum(axis=1) + other
        likelihood += float(np.sum(top + np.log(total)))
        weights /= total[:, None]
        other /= total
        shares[:-1] += weights.sum(axis=0)
        shares[-1] += other.sum()
        spread[:-1] += np.einsum("ij,ij->j", weights, squared)
        spread[-1] += other @ part
    return shares, spread, likelihood


@dataclasses.dataclass(frozen=True, eq=False)
class _Blocks:
    """(position, squared distances [b, m]) of blocks of rows to all centres, again and again."""

    rows: np.ndarray
    centres: np.ndarray

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        step = max(1, min(distances.BLOCK, _KEPT_NUMBERS // 4 // len(self.centres)))
        for start in range(0, len(self.rows), step):
            part = self.rows[start : start + step]
            yield start, distances.squared_distances(part, self.centres)


def _log_densities(squared: np.ndarray, variances: np.ndarray | float, width: int) -> np.ndarray:
    """Of an isotropic Gaussian, by the squared distance to its centre."""
    logs = squared * (-0.5 / variances)
    logs -= 0.5 * width * np.log(2.0 * np.pi * variances)
    return logs


def _compute(images: Comparison) -> Found:
    result = feature_likelihood_divergence(
        images.training(), images.real.features, images.fake.features, images.seed
    )
    warning = (
        "copying: the generated images fit the training images much better than held-out ones "
        f"(fld {result.value:.4g}, fld_gap {result.gap:.4g}); see them with the metric nearest"
    )
    return Found(
        {"fld": result.value, "fld_gap": result.gap, "fld_gap_error": result.gap_error},
        warnings=(warning,) if is_copying(result.value, result.gap, result.gap_error) else (),
    )


METRIC = Metric(_compute, better={"fld": LOWER}, needs_training=True)
