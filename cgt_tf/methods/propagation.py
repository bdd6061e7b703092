"""The networks and penalties of knowledge propagation, see `methods.cgan_transfer`."""

import functools

import numpy as np
from keras import ops

from cgt_tf.config import Config
from cgt_tf.layers.pseudo_class_batch_norm import (
    PropagatedOffsets,
    PseudoClassBatchNorm,
    ScoreMatrix,
)
from cgt_tf.methods import propagation_init as init
from cgt_tf.methods.cgan_transfer import CGANTransferSettings
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
        source: the source GAN, which is left as it is.
        spec: of the new networks.
        settings: of the offsets.
        config: of the run; gives the seed and the truncation of the statistics.
        trained_weights: whether a stage trains the convolutions: their spectral norms are then
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
    states = fold_norms(source.generator, raw=settings.spectral_norm)
    for norm, state in zip(generator.conditional_norms(), states, strict=True):
        for part in ("scale", "shift"):
            latent = getattr(state.offsets, f"{part}_latent")
            values = (getattr(state.offsets, part), latent)
            init.initialize(getattr(norm, part), *values, settings, rng)
    if spec.shared_dim:
        table = ops.convert_to_numpy(source.generator.class_embedding.table())
        init.initialize(generator.class_embedding, table, None, settings, rng)
    return generator


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
    return {
        "num_classes": spec.num_classes,
        "num_pseudo_classes": source.num_classes if settings.propagate else 0,
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


def start_at_nearest(
    source: Gan, generator: BaseGenerator, images, settings: CGANTransferSettings, seed: int
) -> None:
    """Starts the scores at the old classes that are nearest to the images of each new one."""
    nearest = init.nearest_classes(source, images, settings.nearest_classes)
    rng = np.random.default_rng(seed)
    init.assign_nearest(score_matrices(parts_of(generator)), nearest, settings, rng)


def penalties(
    parts: list[PropagatedOffsets], settings: CGANTransferSettings, scores: bool = True
) -> dict:
    """l1 of the scores and l2 of the residuals (paper, eq. 7), weighted; scalars by name.

    The released code takes means over each tensor and sums those (`reduction=mean`), and counts the
    bias of the scores as one of them; the paper's equation sums over everything.

    Args:
        parts: of the generator, see `parts_of`.
        settings: the weights.
        scores: False in fine-tuning, where the scores are frozen.
    """
    reduce = {"mean": ops.mean, "sum": ops.sum}[settings.reduction]
    matrices = score_matrices(parts) if scores else []
    tensors = [x for m in matrices for x in ([m.kernel, m.bias] if m.use_bias else [m.kernel])]
    residuals = [part.residual for part in parts if part.residual is not None]
    found = {}
    if tensors:
        found["l1_scores"] = settings.l1_scores * sum(reduce(ops.abs(x)) for x in tensors)
    if residuals:
        total = sum(reduce(ops.square(x)) for x in residuals)
        found["l2_residual"] = settings.l2_residual * total
    return found
