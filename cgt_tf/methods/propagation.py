"""The networks and penalties of knowledge propagation, see `methods.cgan_transfer`."""

import functools

import numpy as np
from keras import ops

from cgt_tf.config import Config
from cgt_tf.data.image_set import ImageSet
from cgt_tf.layers.pseudo_class_batch_norm import (
    PropagatedOffsets,
    PseudoClassBatchNorm,
    ScoreMatrix,
)
from cgt_tf.methods import discriminant, equal_updates, prior_controls
from cgt_tf.methods import propagation_init as init
from cgt_tf.methods.cgan_transfer_settings import CGANTransferSettings
from cgt_tf.networks.biggan import BaseGenerator
from cgt_tf.networks.fold import copy_unconditional, fold_norms
from cgt_tf.networks.gan import Gan, create_generator
from cgt_tf.networks.spec import GanSpec


def create_transferred_generator(
    source: Gan,
    spec: GanSpec,
    settings: CGANTransferSettings,
    config: Config,
    trained_weights: bool = False,
) -> BaseGenerator:
    """A generator of the new classes with the source's weights and initial offsets.

    Args:
        source: The source GAN, which is left as it is.
        spec: Spec of the new networks.
        settings: Settings of the offsets.
        config: Config of the run; gives the seed and the truncation of the statistics.
        trained_weights: Whether a stage trains the convolutions: their spectral norms are then
            those of the source; else they are folded.
    """
    generator = create_generator(
        spec,
        norm=norm_factory(source.spec, spec, settings),
        embedding=_embedding(source.spec, spec, settings),
        spectral_norm=trained_weights and not source.spec.domain_classes,
        initializer="zeros",
    )
    copy_unconditional(source.generator, generator, config.source_truncation)
    rng = np.random.default_rng(config.seed)
    tables = old_offsets(source, raw=settings.spectral_norm)
    for part, (table, latent) in zip(parts_of(generator), tables, strict=True):
        init.initialize(part, table, latent, settings, rng)
    if settings.propagate:
        rows = prior_controls.prior_rows(source.spec.num_classes, settings, config.seed)
        assign_priors(source, generator, settings, rows, config.seed)
    return generator


def old_offsets(source: Gan, raw: bool = False) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Offsets of the source's classes [N, C] and latent projections, in the order of `parts_of`.

    With `raw` spectral norms are left out. BigGAN-deep's last one is its table of embeddings.
    """
    found = []
    for state in fold_norms(source.generator, raw=raw):
        offsets = state.offsets
        found += [(offsets.scale, offsets.scale_latent), (offsets.shift, offsets.shift_latent)]
    if source.spec.deep:
        found.append((ops.convert_to_numpy(source.generator.class_embedding.table()), None))
    return found


def assign_priors(
    source: Gan,
    generator: BaseGenerator,
    settings: CGANTransferSettings,
    rows: np.ndarray,
    seed: int,
) -> None:
    """Sets all pseudo-classes to what the settings make of these old classes."""
    rng = prior_controls.table_rng(seed)
    tables = old_offsets(source, raw=settings.spectral_norm)
    for part, (table, _) in zip(parts_of(generator), tables, strict=True):
        part.prior.kernel.assign(prior_controls.prior_table(table, rows, settings, rng))


def norm_factory(source: GanSpec, spec: GanSpec, settings: CGANTransferSettings):
    """Factory of the new classes' norms, `norm(channels, name=...)`, for `create_generator`."""
    shared = None
    if settings.propagate and not settings.per_layer_scores:
        options = {"use_bias": settings.score_bias, "spectral_norm": settings.spectral_norm}
        parts = ("scale", "shift")
        shared = {p: ScoreMatrix(spec.num_classes, name="scores", **options) for p in parts}
    return functools.partial(
        PseudoClassBatchNorm,
        momentum=spec.bn_momentum,
        epsilon=spec.bn_eps,
        scores=shared,
        offsets={
            **_arguments(source, spec, settings),
            "latent_dim": spec.chunk_dim,
            "latent_bias": settings.latent_bias and spec.chunk_dim > 0,
        },
    )


def _embedding(
    source: GanSpec, spec: GanSpec, settings: CGANTransferSettings
) -> PropagatedOffsets | None:
    if not spec.shared_dim:
        return None
    arguments = _arguments(source, spec, settings)
    return PropagatedOffsets(spec.shared_dim, name="class_embedding", **arguments)


def _arguments(source: GanSpec, spec: GanSpec, settings: CGANTransferSettings) -> dict:
    size = prior_controls.prior_size(source.num_classes, settings)
    return {
        "num_classes": spec.num_classes,
        "num_pseudo_classes": size if settings.propagate else 0,
        "residual": settings.residual,
        "spectral_norm": settings.spectral_norm,
        "score_bias": settings.score_bias,
        "prior_bias": settings.prior_bias,
        "sn_eps": spec.sn_eps,
    }


def parts_of(generator: BaseGenerator) -> list[PropagatedOffsets]:
    """Scale and shift of every norm in network order, and the embedding of BigGAN-deep."""
    norms = generator.conditional_norms()
    parts = [part for norm in norms for part in (norm.scale, norm.shift)]
    return parts + ([generator.class_embedding] if generator.spec.deep else [])


def score_matrices(parts: list[PropagatedOffsets]) -> list[ScoreMatrix]:
    """Each once, also where layers share them."""
    return list({id(p.scores): p.scores for p in parts if p.scores}.values())


def choose_old_classes(
    source: Gan,
    generator: BaseGenerator,
    images: ImageSet,
    settings: CGANTransferSettings,
    seed: int,
) -> None:
    """Sets what depends on which old classes the new ones are like: pseudo-classes, scores."""
    similarities = discriminant.log_similarities(source, images)
    count = source.spec.num_classes
    rows = prior_controls.prior_rows(count, settings, seed, similarities)
    if settings.looks_at_images:
        assign_priors(source, generator, settings, rows, seed)
    if settings.starts_alike:
        matrices, rng = score_matrices(parts_of(generator)), np.random.default_rng(seed)
        init.assign_alike(matrices, similarities[:, rows], settings, rng)


def learning_rate_scales(
    generator: BaseGenerator, settings: CGANTransferSettings
) -> dict[str, float]:
    """Factors of the learning rates of scores, pseudo-classes and residuals at `equal_updates`.

    A score S_iy moves the offsets of class y by the row P_i; a pseudo-class' element P_ic moves
    channel c of all new classes by the row S_i.
    """
    parts = parts_of(generator)
    found = {}
    if settings.residual:
        found["residual"] = equal_updates.response([np.eye(1)])
    if settings.propagate and settings.trains_scores:
        by_matrix = {id(matrix): [] for matrix in score_matrices(parts)}
        for part in parts:
            by_matrix[id(part.scores)].append(ops.convert_to_numpy(part.prior.kernel))
        rows = [np.concatenate(tables, axis=1) for tables in by_matrix.values()]
        found["scores"] = equal_updates.response(rows)
    if settings.propagate and settings.train_prior:
        rows = [ops.convert_to_numpy(part.scores.kernel) for part in parts]
        channels = [part.settings["channels"] for part in parts]
        found["prior"] = equal_updates.response(rows, channels)
    return equal_updates.shared_scales(found)


def penalties(
    parts: list[PropagatedOffsets], settings: CGANTransferSettings, scores: bool = True
) -> dict:
    """l1 of the scores and l2 of the residuals (paper, eq. 7), weighted; scalars by name.

    The released code takes means over each tensor and sums those (`reduction=mean`), and counts the
    bias of the scores as one of them; the paper's equation sums over everything.

    Args:
        parts: Parts of the generator, see `parts_of`.
        settings: The weights.
        scores: False in fine-tuning, where the scores are frozen.
    """
    reduce = {"mean": ops.mean, "sum": ops.sum}[settings.reduction]
    matrices = score_matrices(parts) if scores and settings.trains_scores else []
    tensors = [x for m in matrices for x in ([m.kernel, m.bias] if m.use_bias else [m.kernel])]
    residuals = [part.residual for part in parts if part.residual is not None]
    found = {}
    if tensors:
        found["l1_scores"] = settings.l1_scores * sum(reduce(ops.abs(x)) for x in tensors)
    if residuals:
        total = sum(reduce(ops.square(x)) for x in residuals)
        found["l2_residual"] = settings.l2_residual * total
    return found
