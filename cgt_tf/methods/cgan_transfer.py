"""cGANTransfer (Shahbazi et al., CVPR 2021): knowledge propagation across classes.

The `paper` form: spectral norms are folded once at load, so that the pseudo-classes start at the
scale the source was trained at; offsets, not whole scales, are mixed; residuals start at 0; scores
are their own for every layer, and for scale and shift. Convolutions stay frozen, batch-norm
statistics of the new classes move, the discriminator is fine-tuned with a fresh projection table.

Deviations from the released code (see `PseudoClassBatchNorm` for the equations): no spectral norm
on pseudo-classes and scores, no biases next to them, latent projections copied instead of shared
with the source, so that the old classes' outputs do not change.
"""

import dataclasses
import functools

import numpy as np
from keras import ops

from cgt_tf.errors import InputError
from cgt_tf.layers.pseudo_class_batch_norm import PseudoClassBatchNorm
from cgt_tf.methods.base import DataSpec, Stage, TransferMethod, variable_name
from cgt_tf.models.biggan import Discriminator, Generator
from cgt_tf.models.fold import ExtendedGenerator, copy_unconditional, fold_norms
from cgt_tf.models.gan import Gan, build_networks

# The fresh part of the discriminator: one row a new class.
_PROJECTION = "class_projection/"


class CGANTransfer(TransferMethod):
    """Adds classes as similarity-weighted pseudo-classes plus small residuals."""

    def build(self, source: Gan | None, target: DataSpec) -> Gan:
        _check(source, target)
        self._source = source
        spec = dataclasses.replace(source.spec, num_classes=len(target.class_names), shared_dim=0)
        self._generator = self._transferred_generator(source.generator, spec)
        discriminator = Discriminator(spec)
        build_networks(discriminator)
        _copy_discriminator(source.discriminator, discriminator)
        return Gan(spec, self._generator, discriminator, list(target.class_names))

    def _transferred_generator(self, source: Generator, spec) -> Generator:
        norm = functools.partial(
            PseudoClassBatchNorm,
            num_classes=spec.num_classes,
            num_pseudo_classes=source.spec.num_classes,
            latent_dim=spec.chunk_dim,
            momentum=spec.bn_momentum,
            epsilon=spec.bn_eps,
        )
        generator = Generator(spec, norm=norm, spectral_norm=False)
        build_networks(generator)
        copy_unconditional(source, generator)
        rng = np.random.default_rng(self.config.seed)
        for layer, state in zip(generator.conditional_norms(), fold_norms(source), strict=True):
            layer.moving_mean.assign(state.moving_mean)
            layer.moving_variance.assign(state.moving_variance)
            for part in ("scale", "shift"):
                getattr(layer, f"{part}_prior").assign(getattr(state.offsets, part))
                getattr(layer, f"{part}_scores").assign(self._initial_scores(rng, layer))
                if layer.latent_dim:
                    latent = getattr(state.offsets, f"{part}_latent")
                    getattr(layer, f"{part}_latent").assign(latent)
        return generator

    def _initial_scores(self, rng, layer: PseudoClassBatchNorm) -> np.ndarray:
        shape = (layer.num_pseudo_classes, layer.num_classes)
        noise = rng.normal(scale=self.config.method.scores_std, size=shape)
        return (1 / layer.num_pseudo_classes + noise).astype(np.float32)

    def stages(self) -> tuple[Stage, ...]:
        patterns = [r"block_\d+/norm\d/(scale|shift)_(prior|scores|residual)"]
        if self._source.spec.chunk_dim:
            patterns.append(r"block_\d+/norm\d/(scale|shift)_latent")
        stage = Stage(
            "propagate", self.config.training.steps, tuple(patterns), penalties=self._penalties
        )
        return (stage,)

    def _penalties(self) -> dict:
        """l1 of the scores and l2 of the residuals (paper, eq. 7), weighted."""
        method = self.config.method
        reduce = {"mean": ops.mean, "sum": ops.sum}[method.reduction]
        norms = self._generator.conditional_norms()
        scores = [ops.abs(w) for n in norms for w in (n.scale_scores, n.shift_scores)]
        residuals = [ops.square(w) for n in norms for w in (n.scale_residual, n.shift_residual)]
        return {
            "l1_scores": method.l1_scores * sum(reduce(x) for x in scores),
            "l2_residual": method.l2_residual * sum(reduce(x) for x in residuals),
        }

    def extended(self, gan: Gan) -> ExtendedGenerator:
        return ExtendedGenerator(
            [self._source.generator, gan.generator],
            [self._source.class_names, gan.class_names],
        )


def _check(source: Gan | None, target: DataSpec) -> None:
    if source.spec.resolution != target.resolution:
        raise InputError(
            f"expected images of the source's resolution {source.spec.resolution}, "
            f"got {target.resolution}"
        )
    if source.discriminator is None:
        raise InputError(
            "cgan_transfer fine-tunes a discriminator and the source has none: give one with "
            "--config.discriminator=<handle>"
        )
    repeated = sorted(set(source.class_names) & set(target.class_names))
    if repeated:
        raise InputError(f"expected new classes, got classes of the source: {', '.join(repeated)}")


def _copy_discriminator(source: Discriminator, target: Discriminator) -> None:
    """Copies all but the projection table, whose rows are the old classes."""
    old = {variable_name(v): v for v in source.variables}
    for variable in target.variables:
        name = variable_name(variable)
        if not name.startswith(_PROJECTION):
            variable.assign(old[name])
