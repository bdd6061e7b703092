"""After D3T-GAN (Wu et al., arXiv 2205.06032, 2022; ACM TOMM 2023, DOI 10.1145/3576858).

What the paper's two abstracts say: target samples are projected into the source generator's latent
space, which gives transformed samples; knowledge goes from transformed to generated samples; the
source's discriminator is distilled into the target's on several levels, on real and on generated
images; nothing needs labels. A summary adds: a maximum mean discrepancy and a layer-wise
distillation were ablated, on StyleGAN. Its full text was not at hand, so this is no reproduction.

Ours are all formulas and choices. Before training each image x_i is inverted into the source
(`methods.inversion`), and the reconstructions' features are kept. Then both networks, copies of the
source's (`methods.transfergan`), are trained on

    L_D = hinge + lambda_d (1/K) sum_l mean (d_l^source - d_l)^2 / v_l
    L_G = -mean D(G(z, y), y) + lambda_g (1/L) sum_l MMD^2(P(h_l^source(z_i, e_i)), P(h_l(z, y)))

d_l are outputs of the discriminators' blocks, v_l their variance over up to 256 training images,
and the first mean is over a batch of real and as many generated images, as augmented. h_l are
outputs of the generators' blocks, P the mean and standard deviation over space. Reconstructions are
drawn by class to match the labels of the generated images; MMD is the unbiased form with five
Gaussian kernels around the median distance (`methods.mmd`). Class tables take no part in the
distillation. New classes start at the mean of their images' codes.

As convolutions change, the old classes are lost: the extended generator holds the new ones only.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from cgt_tf.config import Config, knob
from cgt_tf.config_checks import at_least, below_one, one_of
from cgt_tf.errors import InputError
from cgt_tf.methods.base import DataSpec
from cgt_tf.methods.phases import Adam, Stage, Trained
from cgt_tf.methods.run_networks import Networks
from cgt_tf.methods.transfergan import TransferGAN, TransferGANSettings

if TYPE_CHECKING:
    from cgt_tf.methods.inversion import Codes
    from cgt_tf.networks.gan import Gan

_FEATURES = ("generator", "source_discriminator")
_CHOICES = " or ".join(_FEATURES)
_NOT_NEGATIVE = ("lambda_g", "lambda_d", "mmd_kappa", "inversion_levels", "inversion_seed")


@dataclasses.dataclass(kw_only=True)
class D3TGANSettings(TransferGANSettings):
    """The two terms, the inversion, and where the new classes start."""

    CLASS_INITS: ClassVar[tuple[str, ...]] = ("inverted", *TransferGANSettings.CLASS_INITS)

    lambda_g: float = knob(1.0, "weight of the discrepancy from the reconstructions' features")
    lambda_d: float = knob(1.0, "weight of the distance from the source discriminator's features")
    mmd_features: str = knob("generator", f"whose features the first compares: {_CHOICES}")
    mmd_kappa: float = knob(0.0, "its kernel counts pairs of one class 1 + kappa times")
    mmd_per_class: bool = knob(False, "it compares classes with 8 images in the batch one by one")
    mmd_decay: bool = knob(False, "lambda_g falls to 0 over the run, linearly")
    distil_logit: bool = knob(False, "the label-free logit is a level of the second too")
    class_init: str = knob(
        "inverted",
        "mean code of the class' images; or mean_old, nearest, normal as those of transfergan",
    )
    inversion_steps: int = knob(150, "Adam steps for each image")
    inversion_batch: int = knob(50, "images inverted at a time; does not change what comes out")
    inversion_levels: int = knob(0, "the discriminator's blocks compared in it; 0: all")
    inversion_seed: int = knob(0, "seed of its draws, not the run's: runs share what is cached")
    drop_worst: float = knob(0.0, "share of each class left out for its reconstruction error")

    def check(self, config: Config) -> None:
        super().check(config)
        name = config.method.name
        for field in _NOT_NEGATIVE:
            at_least(f"{name}.{field}", getattr(self, field), 0)
        for field in ("inversion_steps", "inversion_batch"):
            at_least(f"{name}.{field}", getattr(self, field), 1)
        one_of(f"{name}.mmd_features", self.mmd_features, _FEATURES)
        below_one(f"{name}.drop_worst", self.drop_worst)
        if self.lambda_g:
            # The unbiased discrepancy is a mean over pairs.
            at_least("training.batch_size", config.training.batch_size, 2)


class D3TGAN(TransferGAN):
    """Fine-tunes the whole source with reconstructions and the source's discriminator as guides."""

    Settings: ClassVar[type] = D3TGANSettings

    @property
    def inverts(self) -> bool:
        """Whether anything depends on the images' codes."""
        return bool(self.settings.lambda_g) or self.settings.class_init == "inverted"

    @property
    def slow_preparation(self) -> str:
        return "inverts the training images" if self.inverts else ""

    def build(self, sources: Sequence["Gan"], target: DataSpec) -> Networks:
        from cgt_tf.methods.feature_transfer import FeatureTransfer, TransferSettings

        (source,) = sources
        settings, name = self.settings, self.config.method.name
        if source.discriminator is None:
            raise InputError(
                f"{name} learns from the source's discriminator, which this source lacks: give one "
                "with --config.discriminator.source=<handle>"
            )
        blocks = len(source.spec.d_widths)
        if settings.inversion_levels > blocks:
            raise InputError(
                f"expected --config.{name}.inversion_levels of at most the {blocks} blocks of the "
                f"source's discriminator, got {settings.inversion_levels}"
            )
        networks = super().build(sources, target)
        networks.teachers["source_discriminator"] = source.discriminator
        self._transfer = FeatureTransfer(
            source,
            TransferSettings(
                lambda_g=settings.lambda_g,
                lambda_d=settings.lambda_d,
                source_discriminator=settings.mmd_features == "source_discriminator",
                kappa=settings.mmd_kappa,
                per_class=settings.mmd_per_class,
                distil_logit=settings.distil_logit,
                decay_from=self.config.discriminator.warmup_steps,
                decay_steps=self.config.training.steps if settings.mmd_decay else 0,
            ),
        )
        return networks

    def prepare(self, networks: Networks, images) -> None:
        """Inverts the images, where a term or the start of the classes needs their codes."""
        super().prepare(networks, images)
        if self.settings.lambda_d:
            self._transfer.calibrate(images)
        if not self.inverts:
            return

        from cgt_tf.methods.feature_transfer import Reconstructions
        from cgt_tf.methods.inverted_images import class_rows, without_worst
        from cgt_tf.methods.whole_generator import copy_whole

        codes, features = self._inverted(images.images)
        kept = without_worst(codes.error, images.labels, self.settings.drop_worst)
        labels = images.labels[kept]
        networks.teachers["reconstructions"] = Reconstructions(
            [level[kept] for level in features], labels, kept, networks.spec.num_classes
        )
        if self.settings.class_init == "inverted":
            rows = class_rows(self._source, codes.take(kept), labels)
            truncation = self.config.source_truncation
            copy_whole(self._source.generator, networks.generator, rows, truncation)

    def _inverted(self, images) -> tuple["Codes", list]:
        """Codes and features of images uint8 [n, R, R, 3]."""
        from cgt_tf.methods.inversion import InversionSettings
        from cgt_tf.methods.inverted_images import invert_and_report

        settings = self.settings
        return invert_and_report(
            self._source,
            images,
            InversionSettings(
                steps=settings.inversion_steps,
                seed=settings.inversion_seed,
                levels=settings.inversion_levels,
                truncation=self.config.source_truncation,
            ),
            self._transfer,
            batch=settings.inversion_batch,
            cache_dir=self.config.data.cache_dir or None,
        )

    def stages(self, networks: Networks) -> tuple[Stage, ...]:
        from cgt_tf.methods.adversarial import Adversarial

        adversarial = Adversarial(
            self.config,
            frozen_blocks=self._frozen,
            terms=self._transfer.generator_terms,
            discriminator_terms=self._transfer.discriminator_terms,
        )
        trained = Trained("generator", Adam.of(self.config.generator))
        return adversarial.single_stage("fine_tune", (trained,))
