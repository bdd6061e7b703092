"""cGANTransfer (Shahbazi et al., CVPR 2021): knowledge propagation across classes.

By default the `paper` form: spectral norms are folded once at load, so that the pseudo-classes
start at the scale the source was trained at; offsets, not whole scales, are mixed; residuals start
at 0; scores are their own for every layer, and for scale and shift. Convolutions stay frozen,
batch-norm statistics of the new classes move, the discriminator is fine-tuned with a fresh
projection table. What the released code does differently is a choice of the settings, collected
in configs/base/code_imagenet.flags and code_cifar.flags; so is every row of the paper's table 2.

Latent projections are copied instead of shared with the source, so that the old classes' outputs
do not change. The fine-tuning stage (section 5.4) follows the first one in the same run, or starts
from a run of it: scores and pseudo-classes frozen, residuals, convolutions and all else trained;
its export holds the new classes only.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from cgt_tf.config import Config, knob
from cgt_tf.config_checks import at_least, one_of
from cgt_tf.errors import InputError
from cgt_tf.methods.base import DataSpec, Networks, TransferMethod
from cgt_tf.methods.phases import Adam, Stage, Trained
from cgt_tf.methods.prior_controls import PriorSettings

if TYPE_CHECKING:
    from cgt_tf.networks.extended import ExtendedGenerator
    from cgt_tf.networks.gan import Gan

PROPAGATE, FINE_TUNE = "propagate", "fine_tune"
_STAGES = ((PROPAGATE,), (FINE_TUNE,), (PROPAGATE, FINE_TUNE))
_SCORES_INITS = ("uniform", "nearest", "random", "orthogonal")
_RESIDUAL_INITS = ("zeros", "normal", "orthogonal", "mean_old")
# Scale and shift of every conditional norm.
NORM_PARTS = r"block_\d+/norm\d/(scale|shift)"
# All that does not depend on the class: trained in fine-tuning only.
_SHARED = (r"linear/.*", r"block_\d+/(conv\d|shortcut)/.*", r"output_(norm|conv)/.*")
_ATTENTION = r"attention_\d+/.*"


@dataclasses.dataclass(kw_only=True)
class OffsetSettings:
    """Knobs of every method that learns offsets of the norms."""

    stages: tuple[str, ...] = knob(
        (PROPAGATE,),
        "propagate; fine_tune, from the run `start` (section 5.4); or propagate,fine_tune in one "
        "run",
    )
    propagate_steps: int = knob(
        1000, "steps of propagate where fine_tune follows, whose length is training.steps"
    )
    start: str = knob("", "directory of the run whose weights fine_tune starts from")
    start_checkpoint: str = knob("best", "of that run: best, last or a step")
    residual_init: str = knob("zeros", "or normal (spread 0.02), orthogonal, mean_old")
    spectral_norm: bool = knob(False, "on pseudo-classes, scores and latent projections")
    latent_bias: bool = knob(False, "a bias next to the latent projections")

    def check(self, config: Config) -> None:
        """Raises InputError for values out of their range or that do not go together."""
        name = config.method.name
        one_of(f"{name}.residual_init", self.residual_init, _RESIDUAL_INITS)
        at_least(f"{name}.propagate_steps", self.propagate_steps, 1)
        if self.stages not in _STAGES:
            choices = ", or ".join(",".join(stages) for stages in _STAGES)
            raise InputError(
                f"--config.{name}.stages must be {choices}, got {','.join(self.stages)!r}"
            )
        if (self.stages == (FINE_TUNE,)) != bool(self.start):
            raise InputError(
                f"--config.{name}.stages=fine_tune and --config.{name}.start=<run> go together, "
                f"got {','.join(self.stages)!r} and {self.start!r}"
            )
        if self.start and config.discriminator.warmup_steps:
            raise InputError(
                f"expected --config.discriminator.warmup_steps=0 with --config.{name}.start, whose "
                f"discriminator is trained, got {config.discriminator.warmup_steps}"
            )


@dataclasses.dataclass(kw_only=True)
class CGANTransferSettings(OffsetSettings, PriorSettings):
    """Regularisers as in the authors' scripts (section 4.2 of the paper); the defaults are the
    paper's, what its released code does is in configs/base/."""

    l1_scores: float = knob(0.01, "weight of |S|")
    l2_residual: float = knob(0.1, "weight of R^2")
    reduction: str = knob("mean", "over each tensor, or sum; tensors are summed")
    propagate: bool = knob(True, "pseudo-classes and scores; False: residuals alone")
    train_prior: bool = knob(True, "whether the pseudo-classes are trained")
    residual: bool = knob(True, "whether new classes have residuals")
    per_layer_scores: bool = knob(True, "False: one set of scores for all layers")
    scores_init: str = knob("uniform", "1 / N, or nearest, random, orthogonal; see scores_std")
    scores_std: float = knob(0.005, "normal noise on the initial scores, but orthogonal ones")
    nearest_classes: int = knob(5, "old classes that a start at the nearest ones is made of")
    score_bias: bool = knob(False, "a bias of the scores, common to the new classes")
    prior_bias: bool = knob(False, "a bias next to the pseudo-classes")
    equal_updates: bool = knob(
        False,
        "learning rates such that scores, pseudo-classes and residuals change the offsets equally "
        "fast, and together as fast as free offsets change at the generator's learning rate",
    )

    def check(self, config: Config) -> None:
        name = config.method.name
        one_of(f"{name}.reduction", self.reduction, ("mean", "sum"))
        one_of(f"{name}.scores_init", self.scores_init, _SCORES_INITS)
        at_least(f"{name}.nearest_classes", self.nearest_classes, 1)
        for field in ("l1_scores", "l2_residual", "scores_std"):
            at_least(f"{name}.{field}", getattr(self, field), 0)
        if not (self.propagate or self.residual):
            raise InputError(
                f"--config.{name}.propagate and --config.{name}.residual are both False"
            )
        if self.propagate and not (self.trains_scores or self.train_prior or self.residual):
            raise InputError(
                f"--config.{name}.train_prior and --config.{name}.residual are both False, and "
                "prior_init=mean has no scores to train"
            )
        self.check_prior(name, self.scores_init)
        coded = [x for x in ("spectral_norm", "score_bias", "prior_bias") if getattr(self, x)]
        if self.equal_updates and coded:
            raise InputError(
                f"expected --config.{name}.{coded[0]}=False with equal_updates, whose rates are "
                "those of the paper's form, got True"
            )
        super().check(config)


class CGANTransfer(TransferMethod):
    """Adds classes as similarity-weighted pseudo-classes plus small residuals."""

    Settings: ClassVar[type] = CGANTransferSettings

    @property
    def offsets(self) -> CGANTransferSettings:
        """What the offsets are made of; a variant of the method fixes some of it."""
        return self.settings

    @property
    def keeps_old_classes(self) -> bool:
        return FINE_TUNE not in self.settings.stages

    def build(self, sources: Sequence["Gan"], target: DataSpec) -> Networks:
        from cgt_tf.methods import fine_tuning, propagation, transfer
        from cgt_tf.networks.gan import Gan

        (self._source,) = sources
        transfer.check_transfer(self._source, target)
        spec = transfer.transferred_spec(self._source.spec, len(target.class_names))
        generator = propagation.create_transferred_generator(
            self._source,
            spec,
            self.offsets,
            self.config,
            trained_weights=not self.keeps_old_classes,
        )
        discriminator = transfer.transferred_discriminator(
            self._source, spec, self.config, taken_over=bool(self.settings.start)
        )
        networks = Networks.of(Gan(spec, generator, discriminator, list(target.class_names)))
        if self.settings.start:
            fine_tuning.take_over(networks, self.settings.start, self.settings.start_checkpoint)
        return networks

    def prepare(self, networks: Networks, images) -> None:
        """Finds the old classes that the new ones are like, where anything starts there."""
        from cgt_tf.methods import propagation

        offsets = self.offsets
        chosen = offsets.scores_init == "nearest" or offsets.looks_at_images
        if offsets.propagate and chosen and not self.settings.start:
            propagation.choose_old_classes(
                self._source, networks.generator, images, offsets, self.config.seed
            )

    def stages(self, networks: Networks) -> tuple[Stage, ...]:
        from cgt_tf.methods.adversarial import Adversarial

        found = []
        for name in self.settings.stages:
            adversarial = Adversarial(
                self.config,
                terms=self._penalties(name),
                # Frozen kernels keep the norms that they are divided by.
                power_iteration=None if name == FINE_TUNE else False,
            )
            trained = self._trained(name, networks)
            phases = (
                adversarial.discriminator(),
                adversarial.generator(trained, name=f"generator_{name}"),
            )
            last = name == self.settings.stages[-1]
            steps = self.config.training.steps if last else self.settings.propagate_steps
            found.append(Stage(name, steps, phases))
        return adversarial.after_warm_up(tuple(found))

    def _penalties(self, stage: str):
        from cgt_tf.methods import propagation

        def penalties(p, judged) -> dict:
            del judged
            parts = propagation.parts_of(p.networks.generator)
            return propagation.penalties(parts, self.offsets, scores=stage != FINE_TUNE)

        return penalties

    def _trained(self, stage: str, networks: Networks) -> tuple[Trained, ...]:
        """All that a stage trains; at `equal_updates` each kind of offsets at a rate of its own."""
        from cgt_tf.methods import propagation

        optimizer, kinds = Adam.of(self.config.generator), self._kinds(stage)
        if not (self.offsets.equal_updates and stage == PROPAGATE):
            patterns = [pattern for kind in kinds for pattern in self._patterns(kind)]
            return (Trained("generator", optimizer, (*patterns, *self._rest(stage))),)
        scales = propagation.learning_rate_scales(networks.generator, self.offsets)
        found = []
        for kind in kinds:
            rate = optimizer.learning_rate * scales[kind.partition("/")[0]]
            scaled = dataclasses.replace(optimizer, learning_rate=rate)
            found.append(Trained("generator", scaled, self._patterns(kind)))
        if rest := self._rest(stage):
            found.append(Trained("generator", optimizer, rest))
        return tuple(found)

    def _kinds(self, stage: str) -> list[str]:
        """Ends of the names of the offsets' variables that a stage trains."""
        offsets, kinds = self.offsets, []
        if offsets.propagate and stage == PROPAGATE:
            kinds += ["scores/.*"] * offsets.trains_scores + ["prior/.*"] * offsets.train_prior
        return kinds + ["residual"] * offsets.residual

    def _patterns(self, kind: str) -> tuple[str, ...]:
        embedding = (f"class_embedding/{kind}",) if self._source.spec.deep else ()
        return (f"{NORM_PARTS}/{kind}", *embedding)

    def _rest(self, stage: str) -> tuple[str, ...]:
        """Patterns of what a stage trains besides the offsets."""
        spec = self._source.spec
        latent = (f"{NORM_PARTS}/latent/.*",) if spec.chunk_dim else ()
        if stage == PROPAGATE:
            return latent
        return (*latent, *_SHARED, *[_ATTENTION] * bool(spec.g_attention))

    def extended(self, networks: Networks) -> "ExtendedGenerator":
        from cgt_tf.networks.extended import fold_together

        old, new = self._source, networks
        if not self.keeps_old_classes:
            return fold_together([new.generator], [new.class_names])
        return fold_together([old.generator, new.generator], [old.class_names, new.class_names])

    def discriminator_origin(self, sources: Sequence["Gan"]) -> str:
        if self.settings.start:
            return f"that of {self.settings.start}, class table included"
        return super().discriminator_origin(sources)
