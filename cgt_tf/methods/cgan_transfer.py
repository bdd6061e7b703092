"""cGANTransfer (Shahbazi et al., CVPR 2021): knowledge propagation across classes.

The `paper` form: spectral norms are folded once at load, so that the pseudo-classes start at the
scale the source was trained at; offsets, not whole scales, are mixed; residuals start at 0; scores
are their own for every layer, and for scale and shift. Convolutions stay frozen, batch-norm
statistics of the new classes move, the discriminator is fine-tuned with a fresh projection table.

Deviations from the released code (see `PseudoClassBatchNorm` for the equations): no spectral norm
on pseudo-classes and scores, no biases next to them, latent projections copied instead of shared
with the source, so that the old classes' outputs do not change.
"""

import functools

import numpy as np
from keras import ops

from cgt_tf.layers.pseudo_class_batch_norm import PseudoClassBatchNorm, PseudoClassEmbedding
from cgt_tf.methods.base import DataSpec, Stage, TransferMethod
from cgt_tf.methods.transfer import check_transfer, transferred_discriminator, transferred_spec
from cgt_tf.models.biggan import BaseGenerator
from cgt_tf.models.fold import ExtendedGenerator, copy_unconditional, fold_norms
from cgt_tf.models.gan import Gan, create_generator


class CGANTransfer(TransferMethod):
    """Adds classes as similarity-weighted pseudo-classes plus small residuals."""

    def build(self, source: Gan | None, target: DataSpec) -> Gan:
        check_transfer(source, target)
        self._source = source
        spec = transferred_spec(source.spec, len(target.class_names))
        self._generator = self._transferred_generator(source.generator, spec)
        discriminator = transferred_discriminator(source, spec, self.config)
        return Gan(spec, self._generator, discriminator, list(target.class_names))

    def _transferred_generator(self, source: BaseGenerator, spec) -> BaseGenerator:
        classes = {
            "num_classes": spec.num_classes,
            "num_pseudo_classes": source.spec.num_classes,
        }
        norm = functools.partial(
            PseudoClassBatchNorm,
            latent_dim=spec.chunk_dim,
            momentum=spec.bn_momentum,
            epsilon=spec.bn_eps,
            **classes,
        )
        embedding = None
        if spec.shared_dim:
            embedding = PseudoClassEmbedding(spec.shared_dim, name="class_embedding", **classes)
        generator = create_generator(
            spec, norm=norm, embedding=embedding, spectral_norm=False, initializer="zeros"
        )
        copy_unconditional(source, generator, self.config.source_truncation)
        rng = np.random.default_rng(self.config.seed)
        for layer, state in zip(generator.conditional_norms(), fold_norms(source), strict=True):
            for part in ("scale", "shift"):
                getattr(layer, f"{part}_prior").assign(getattr(state.offsets, part))
                getattr(layer, f"{part}_scores").assign(self._initial_scores(rng, layer))
                if layer.latent_dim:
                    # Of a source that was itself extended, the first domain's.
                    latent = getattr(state.offsets, f"{part}_latent")[: layer.latent_dim]
                    getattr(layer, f"{part}_latent").assign(latent)
        if embedding is not None:
            embedding.prior.assign(source.class_embedding.table())
            embedding.scores.assign(self._initial_scores(rng, embedding))
        return generator

    def _initial_scores(self, rng, layer) -> np.ndarray:
        shape = (layer.num_pseudo_classes, layer.num_classes)
        noise = rng.normal(scale=self.config.method.scores_std, size=shape)
        return (1 / layer.num_pseudo_classes + noise).astype(np.float32)

    def stages(self) -> tuple[Stage, ...]:
        patterns = [r"block_\d+/norm\d/(scale|shift)_(prior|scores|residual)"]
        if self._source.spec.chunk_dim:
            patterns.append(r"block_\d+/norm\d/(scale|shift)_latent")
        if self._source.spec.deep:
            patterns.append(r"class_embedding/(prior|scores|residual)")
        stage = Stage(
            "propagate", self.config.training.steps, tuple(patterns), penalties=self._penalties
        )
        return (stage,)

    def _penalties(self) -> dict:
        """l1 of the scores and l2 of the residuals (paper, eq. 7), weighted."""
        method = self.config.method
        reduce = {"mean": ops.mean, "sum": ops.sum}[method.reduction]
        norms = self._generator.conditional_norms()
        scores = [w for n in norms for w in (n.scale_scores, n.shift_scores)]
        residuals = [w for n in norms for w in (n.scale_residual, n.shift_residual)]
        if self._source.spec.deep:
            scores.append(self._generator.class_embedding.scores)
            residuals.append(self._generator.class_embedding.residual)
        return {
            "l1_scores": method.l1_scores * sum(reduce(ops.abs(x)) for x in scores),
            "l2_residual": method.l2_residual * sum(reduce(ops.square(x)) for x in residuals),
        }

    def extended(self, gan: Gan) -> ExtendedGenerator:
        return ExtendedGenerator(
            [self._source.generator, gan.generator],
            [self._source.class_names, gan.class_names],
        )
