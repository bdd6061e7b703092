"""Knobs of cgan_transfer, and of the methods that learn offsets as it does."""

import dataclasses

from cgt_tf.config import Config, knob
from cgt_tf.config_checks import at_least, one_of
from cgt_tf.errors import InputError
from cgt_tf.methods.prior_controls import PriorSettings

PROPAGATE, FINE_TUNE = "propagate", "fine_tune"
_STAGES = ((PROPAGATE,), (FINE_TUNE,), (PROPAGATE, FINE_TUNE))
_SCORES_INITS = ("uniform", "nearest", "similar", "random", "orthogonal")
_RESIDUAL_INITS = ("zeros", "normal", "orthogonal", "mean_old")


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
    scores_init: str = knob(
        "uniform", "1 / N, or nearest, similar (ours), random, orthogonal; see scores_std"
    )
    scores_std: float = knob(0.005, "normal noise on the initial scores, but orthogonal ones")
    nearest_classes: int = knob(5, "old classes that a start at the nearest ones is made of")
    score_bias: bool = knob(False, "a bias of the scores, common to the new classes")
    prior_bias: bool = knob(False, "a bias next to the pseudo-classes")
    equal_updates: bool = knob(
        False,
        "learning rates such that scores, pseudo-classes and residuals change the offsets equally "
        "fast, and together as fast as free offsets change at the generator's learning rate",
    )

    @property
    def starts_alike(self) -> bool:
        """Whether the scores start at old classes that the new ones are like."""
        return self.scores_init in ("nearest", "similar")

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
