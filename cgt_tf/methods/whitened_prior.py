"""The prior of `methods.class_prior`: coordinates of class offsets, a generator that has them."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from keras import ops

from cgt_tf.config import Config
from cgt_tf.errors import InputError
from cgt_tf.layers.pseudo_class_batch_norm import (
    PropagatedOffsets,
    PseudoClassBatchNorm,
    ScoreMatrix,
)
from cgt_tf.methods import equal_updates
from cgt_tf.methods.propagation import old_offsets, parts_of, score_matrices
from cgt_tf.networks.biggan import BaseGenerator
from cgt_tf.networks.fold import copy_unconditional
from cgt_tf.networks.gan import Gan, create_generator
from cgt_tf.networks.spec import GanSpec

if TYPE_CHECKING:
    from cgt_tf.methods.class_prior_settings import ClassPriorSettings

# Directions of less than this share of the largest deviation are rounding, and no class has them.
_NEGLIGIBLE = 1e-6
# Key of the draws of start=random, beside the run's seed.
_START = 3


class Basis(NamedTuple):
    """Offsets of the old classes as coordinates, table = mean + coordinates @ rows.

    Attributes:
        mean: float64 [D].
        rows: B, [K, D].
        coordinates: Coordinates of the old classes, [N, K]; their mean square is 1 in each
            direction that any class has.
    """

    mean: np.ndarray
    rows: np.ndarray
    coordinates: np.ndarray


def create_basis(table: np.ndarray, rank: int, whitened: bool = True) -> Basis:
    """The basis of the deviations P~ of a table's rows from their mean.

    Args:
        table: [N, D], N of at least 2.
        rank: K, of whitened coordinates; at most min(N, D).
        whitened: Uncorrelated coordinates, P~ = U diag(s) V' with rows diag(s) V' / sqrt(N) and
            coordinates sqrt(N) U; else weights of the old classes, sqrt(N) I, and K = N.
    """
    table = np.asarray(table, np.float64)
    mean, root = table.mean(axis=0), np.sqrt(len(table))
    deviations = table - mean
    if not whitened:
        return Basis(mean, deviations / root, root * np.eye(len(table)))
    left, values, right = np.linalg.svd(deviations, full_matrices=False)
    left, values, right = left[:, :rank], values[:rank], right[:rank]
    there = values > _NEGLIGIBLE * values[0]
    return Basis(mean, (values * there / root)[:, None] * right, root * left * there)


class WhitenedPrior:
    """The distribution of a source's classes.

    Args:
        source: Is left as it is.
        settings: Whether its coordinates are joint and whitened, and weights of the penalties.

    Raises:
        InputError: a source of a single class.
    """

    def __init__(self, source: Gan, settings: "ClassPriorSettings"):
        if source.spec.num_classes < 2:
            raise InputError("expected a source of at least 2 classes for a prior, got 1")
        self._source, self._settings = source, settings
        self._tables, self._latents = zip(*old_offsets(source), strict=True)
        tables = [np.concatenate(self._tables, axis=1)] if settings.joint else self._tables
        ranks = [self._rank(table.shape[1]) for table in tables]
        pairs = zip(tables, ranks, strict=True)
        self._bases = [create_basis(table, rank, settings.whitened) for table, rank in pairs]
        deviations = [table - table.mean(axis=0) for table in self._tables]
        # rho^2, of the docstring of `methods.class_prior`.
        self._mean_square = np.mean(np.square(np.concatenate(deviations, axis=1), dtype=np.float64))

    def _rank(self, width: int) -> int:
        """K of a table of so many columns: known beforehand, as networks are built with it."""
        spec = self._source.spec
        if not self._settings.whitened:
            return spec.num_classes
        # Offsets that are projections of a shared embedding have no more directions than it has.
        embedding = 0 if spec.domain_classes else spec.shared_dim
        return min(spec.num_classes - 1, width, embedding or width)

    @property
    def learning_rate_scale(self) -> float:
        """Of the coordinates, such that they change the offsets as fast as free offsets change."""
        found = {"scores": equal_updates.response(basis.rows for basis in self._bases)}
        return equal_updates.equal_scales(found)["scores"]

    def create_generator(self, spec: GanSpec, config: Config) -> BaseGenerator:
        """A generator of new classes at the settings' start; the similar ones follow by `start`."""
        embedding = None
        if spec.shared_dim:
            arguments = self._arguments(spec, spec.shared_dim)
            embedding = PropagatedOffsets(name="class_embedding", **arguments)
        generator = create_generator(
            spec,
            norm=self._norm_factory(spec, embedding),
            embedding=embedding,
            spectral_norm=False,
            initializer="zeros",
        )
        copy_unconditional(self._source.generator, generator, config.source_truncation)
        parts = parts_of(generator)
        for part, mean, rows, latent in zip(parts, *self._by_part(), self._latents, strict=True):
            part.prior.kernel.assign(rows)
            part.prior.bias.assign(mean)
            if part.latent is not None:
                part.latent.kernel.assign(latent[: part.latent.kernel.shape[0]])
        if self._settings.start == "random":
            rng = np.random.default_rng([config.seed, _START])
            for matrix in score_matrices(parts):
                matrix.kernel.assign(rng.normal(size=matrix.kernel.shape))
        return generator

    def _norm_factory(self, spec: GanSpec, embedding: PropagatedOffsets | None):
        """Of norms `norm(channels, name=...)`, which share their coordinates where they are joint.

        BigGAN-deep's embedding has them already.
        """
        scores = None
        if self._settings.joint:
            scores = embedding.scores if embedding else self._scores(spec)

        def norm(channels, **kwargs):
            arguments = self._arguments(spec, channels)
            del arguments["channels"]
            return PseudoClassBatchNorm(
                channels,
                momentum=spec.bn_momentum,
                epsilon=spec.bn_eps,
                scores={"scale": scores, "shift": scores},
                offsets={**arguments, "latent_dim": spec.chunk_dim},
                **kwargs,
            )

        return norm

    def _scores(self, spec: GanSpec) -> ScoreMatrix:
        return ScoreMatrix(spec.num_classes, spectral_norm=False, name="scores")

    def _arguments(self, spec: GanSpec, channels: int) -> dict:
        width = sum(table.shape[1] for table in self._tables)
        settings = self._settings
        return {
            "channels": channels,
            "num_classes": spec.num_classes,
            "num_pseudo_classes": self._rank(width if settings.joint else channels),
            "residual": settings.residual,
            "centred_residual": settings.common_shift,
            "prior_bias": True,
        }

    def _by_part(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Means [C] and rows [K, C] of every scale and shift."""
        if not self._settings.joint:
            return [basis.mean for basis in self._bases], [basis.rows for basis in self._bases]
        (basis,) = self._bases
        cuts = np.cumsum([table.shape[1] for table in self._tables])[:-1]
        return np.split(basis.mean, cuts), np.split(basis.rows, cuts, axis=1)

    def start(self, generator: BaseGenerator, similarities: np.ndarray) -> None:
        """Starts each new class at the old classes that it is like.

        Args:
            generator: Generator of `create_generator`.
            similarities: Q [M, N].
        """
        weights = similarities / np.linalg.norm(similarities, axis=1, keepdims=True)
        matrices = score_matrices(parts_of(generator))
        for matrix, basis in zip(matrices, self._bases, strict=True):
            matrix.kernel.assign((weights @ basis.coordinates).T)

    def penalties(self, generator: BaseGenerator) -> dict:
        """Weighted mean squares of coordinates and of residuals, the latter over rho^2."""
        parts, settings = parts_of(generator), self._settings
        matrices = score_matrices(parts)
        squares = sum(ops.mean(ops.square(matrix.kernel)) for matrix in matrices)
        found = {"l2_prior": settings.l2_prior * squares / len(matrices)}
        if settings.residual:
            total = sum(ops.sum(ops.square(part.residuals())) for part in parts)
            count = sum(int(np.prod(part.residual.shape)) for part in parts)
            found["l2_residual"] = settings.l2_residual * total / (count * self._mean_square)
        return found
