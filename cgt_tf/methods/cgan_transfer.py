"""cGANTransfer (Shahbazi et al., CVPR 2021): knowledge propagation across classes.

By default the `paper` form: spectral norms are folded once at load, so that the pseudo-classes
start at the scale the source was trained at; offsets, not whole scales, are mixed; residuals start
at 0; scores are their own for every layer, and for scale and shift. Convolutions stay frozen,
batch-norm statistics of the new classes move, the discriminator is fine-tuned with a fresh
projection table. What the released code does differently is a choice of `config.method`, collected
in configs/presets/code_imagenet.flags and code_cifar.flags; so is every row of the paper's table 2.

Latent projections are copied instead of shared with the source, so that the old classes' outputs
do not change. The fine-tuning stage (section 5.4) starts from a run of the first stage: scores and
pseudo-classes frozen, residuals, convolutions and all else trained; its export holds the new
classes only.
"""

import functools

import numpy as np
from keras import ops

from cgt_tf.config import Config, MethodConfig
from cgt_tf.layers.pseudo_class_batch_norm import (
    PropagatedOffsets,
    PseudoClassBatchNorm,
    ScoreMatrix,
)
from cgt_tf.methods import propagation_init as init
from cgt_tf.methods.base import DataSpec, Stage, TransferMethod
from cgt_tf.methods.fine_tuning import take_over
from cgt_tf.methods.transfer import (
    check_transfer,
    discriminator_patterns,
    transferred_discriminator,
    transferred_spec,
)
from cgt_tf.models.biggan import BaseGenerator
from cgt_tf.models.fold import ExtendedGenerator, copy_unconditional, fold_norms
from cgt_tf.models.gan import Gan, create_generator
from cgt_tf.models.spec import GanSpec

_NORM = r"block_\d+/norm\d/(scale|shift)"
# All that does not depend on the class: trained in fine-tuning only.
_SHARED = (r"linear/.*", r"block_\d+/(conv\d|shortcut)/.*", r"output_(norm|conv)/.*")
_ATTENTION = r"attention_\d+/.*"


class CGANTransfer(TransferMethod):
    """Adds classes as similarity-weighted pseudo-classes plus small residuals."""

    def __init__(self, config: Config):
        super().__init__(config)
        self._fine_tune = config.method.stage == "fine_tune"

    @property
    def settings(self) -> MethodConfig:
        """Those of the config; a variant of the method fixes some of them."""
        return self.config.method

    @property
    def keeps_old_classes(self) -> bool:
        return not self._fine_tune

    @property
    def source_names(self) -> list[str]:
        """The old classes, in the order of the scores; after `build`."""
        return self._source.class_names

    def build(self, source: Gan | None, target: DataSpec) -> Gan:
        check_transfer(source, target)
        self._source = source
        spec = transferred_spec(source.spec, len(target.class_names))
        self._generator = self._transferred_generator(source.generator, spec)
        discriminator = transferred_discriminator(source, spec, self.config)
        return Gan(spec, self._generator, discriminator, list(target.class_names))

    def _transferred_generator(self, source: BaseGenerator, spec: GanSpec) -> BaseGenerator:
        generator = create_generator(
            spec,
            norm=self.norm_factory(source.spec, spec),
            embedding=self._embedding(source.spec, spec),
            # Frozen weights are folded; in fine-tuning they are trained as the source was.
            spectral_norm=self._fine_tune and not source.spec.domain_classes,
            initializer="zeros",
        )
        copy_unconditional(source, generator, self.config.source_truncation)
        method = self.settings
        rng = np.random.default_rng(self.config.seed)
        states = fold_norms(source, raw=method.spectral_norm)
        for norm, state in zip(generator.conditional_norms(), states, strict=True):
            for part in ("scale", "shift"):
                latent = getattr(state.offsets, f"{part}_latent")
                values = (getattr(state.offsets, part), latent)
                init.initialize(getattr(norm, part), *values, method, rng)
        if spec.shared_dim:
            table = ops.convert_to_numpy(source.class_embedding.table())
            init.initialize(generator.class_embedding, table, None, method, rng)
        return generator

    def _settings(self, source: GanSpec, spec: GanSpec) -> dict:
        method = self.settings
        return {
            "num_classes": spec.num_classes,
            "num_pseudo_classes": source.num_classes if method.propagate else 0,
            "residual": method.residual,
            "spectral_norm": method.spectral_norm,
            "score_bias": method.score_bias,
            "prior_bias": method.prior_bias,
            "sn_eps": spec.sn_eps,
        }

    def norm_factory(self, source: GanSpec, spec: GanSpec):
        """Factory of the new classes' norms, `norm(channels, name=...)`, for `create_generator`."""
        method = self.settings
        shared = None
        if method.propagate and not method.per_layer_scores:
            options = {"use_bias": method.score_bias, "spectral_norm": method.spectral_norm}
            parts = ("scale", "shift")
            shared = {p: ScoreMatrix(spec.num_classes, name="scores", **options) for p in parts}
        return functools.partial(
            PseudoClassBatchNorm,
            momentum=spec.bn_momentum,
            epsilon=spec.bn_eps,
            scores=shared,
            offsets={
                **self._settings(source, spec),
                "latent_dim": spec.chunk_dim,
                "latent_bias": method.latent_bias and spec.chunk_dim > 0,
            },
        )

    def _embedding(self, source: GanSpec, spec: GanSpec) -> PropagatedOffsets | None:
        if not spec.shared_dim:
            return None
        settings = self._settings(source, spec)
        return PropagatedOffsets(spec.shared_dim, name="class_embedding", **settings)

    def prepare(self, gan: Gan, data) -> None:
        """Finds the nearest old classes of each new one, where the scores start there."""
        method = self.settings
        if method.propagate and method.scores_init == "nearest" and not self._fine_tune:
            nearest = init.nearest_classes(self._source, data, method.nearest_classes)
            rng = np.random.default_rng(self.config.seed)
            init.assign_nearest(self._score_matrices(), nearest, method, rng)

    def continue_from(self, gan: Gan, previous: Gan) -> None:
        take_over(gan, previous)

    def stages(self) -> tuple[Stage, ...]:
        return (
            Stage(
                self.settings.stage,
                self.config.training.steps,
                tuple(self._trained_patterns()),
                discriminator_patterns(self.config),
                penalties=self._penalties,
            ),
        )

    def _trained_patterns(self) -> list[str]:
        method = self.settings
        patterns, kinds = [], []
        if method.propagate and not self._fine_tune:
            kinds += ["scores/.*"] + ["prior/.*"] * method.train_prior
        kinds += ["residual"] * method.residual
        patterns += [f"{_NORM}/{kind}" for kind in kinds]
        if self._source.spec.chunk_dim:
            patterns.append(f"{_NORM}/latent/.*")
        if self._source.spec.deep:
            patterns += [f"class_embedding/{kind}" for kind in kinds]
        if self._fine_tune:
            patterns += [*_SHARED, *[_ATTENTION] * bool(self._source.spec.g_attention)]
        return patterns

    def _parts(self) -> list[PropagatedOffsets]:
        norms = self._generator.conditional_norms()
        parts = [part for norm in norms for part in (norm.scale, norm.shift)]
        return parts + ([self._generator.class_embedding] if self._source.spec.deep else [])

    def _score_matrices(self) -> list[ScoreMatrix]:
        return score_matrices(self._parts())

    def _penalties(self) -> dict:
        return penalties(self._parts(), self.settings)

    def extended(self, gan: Gan) -> ExtendedGenerator:
        if not self.keeps_old_classes:
            return ExtendedGenerator([gan.generator], [gan.class_names])
        return ExtendedGenerator(
            [self._source.generator, gan.generator],
            [self._source.class_names, gan.class_names],
        )


def score_matrices(parts: list[PropagatedOffsets]) -> list[ScoreMatrix]:
    """Each once, also where layers share them."""
    return list({id(p.scores): p.scores for p in parts if p.scores}.values())


def penalties(parts: list[PropagatedOffsets], method: MethodConfig) -> dict:
    """l1 of the scores and l2 of the residuals (paper, eq. 7), weighted; scalars by name.

    The released code takes means over each tensor and sums those (`reduction=mean`), and counts the
    bias of the scores as one of them; the paper's equation sums over everything. In fine-tuning the
    scores are frozen and have none.
    """
    reduce = {"mean": ops.mean, "sum": ops.sum}[method.reduction]
    matrices = [] if method.stage == "fine_tune" else score_matrices(parts)
    scores = [x for m in matrices for x in ([m.kernel, m.bias] if m.use_bias else [m.kernel])]
    residuals = [part.residual for part in parts if part.residual is not None]
    found = {}
    if scores:
        found["l1_scores"] = method.l1_scores * sum(reduce(ops.abs(x)) for x in scores)
    if residuals:
        total = sum(reduce(ops.square(x)) for x in residuals)
        found["l2_residual"] = method.l2_residual * total
    return found
