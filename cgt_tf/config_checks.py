"""Which values the knobs of `config` may have; needs no TensorFlow.

Ranges are written so that a value that is not a number is outside all of them.
"""

import math

from cgt_tf import config as configs
from cgt_tf.config import Config, EvaluationConfig, ModelConfig
from cgt_tf.errors import InputError
from cgt_tf.metrics.registry import METRICS, directions

RESOLUTIONS = (32, 64, 128, 256, 512)
# Budgets that no machine's memory exceeds, so that a slip of the hand is found before allocation.
_MOST_IMAGES, _MOST_WIDTH = 1 << 20, 1 << 16


def validate(config: Config) -> None:
    """Raises InputError for the first value out of its range."""
    if not 0 <= config.seed < 2**32:
        raise InputError(f"--config.seed must be from 0 to 2**32 - 1, got {config.seed}")
    if not config.data.train:
        raise InputError("--config.data.train must name a dataset or a directory, got ''")
    at_least("data.images_per_class", config.data.images_per_class, 0)
    at_least("data.memory_gb", config.data.memory_gb, 0)
    between("data.draw_seed", config.data.draw_seed, -1, 2**32 - 1)
    share("source_truncation", config.source_truncation)
    _check_model(config.model)
    _check_optimizers(config)
    _check_training(config)
    _check_small_data_help(config)
    _check_evaluation(config.evaluation)


def _check_model(model: ModelConfig) -> None:
    one_of("model.resolution", model.resolution, RESOLUTIONS)
    at_least("model.embedding_gain", model.embedding_gain, 0)
    for name in ("channels", "dim_z", "shared_dim", "d_halvings"):
        between(f"model.{name}", getattr(model, name), 0, _MOST_WIDTH)
    for name in ("g_widths", "d_widths", "attention"):
        for width in getattr(model, name):
            between(f"model.{name}", width, 1, _MOST_WIDTH)


def _check_optimizers(config: Config) -> None:
    for group in ("generator", "discriminator"):
        optimizer = getattr(config, group)
        at_least(f"{group}.learning_rate", optimizer.learning_rate, 0)
        at_least(f"{group}.rampup_steps", optimizer.rampup_steps, 0)
        above_zero(f"{group}.epsilon", optimizer.epsilon)
        for beta in ("beta_1", "beta_2"):
            below_one(f"{group}.{beta}", getattr(optimizer, beta))
    at_least("discriminator.warmup_steps", config.discriminator.warmup_steps, 0)
    at_least("discriminator.freeze_blocks", config.discriminator.freeze_blocks, 0)


def _check_training(config: Config) -> None:
    training = config.training
    one_of("training.strategy", training.strategy, configs.STRATEGIES)
    one_of("training.on_divergence", training.on_divergence, configs.DIVERGENCE)
    if training.precision == "float16":
        raise InputError(
            "--config.training.precision must be float32 or bfloat16, got 'float16', whose small "
            "range of numbers needs scaled losses, which there are none here"
        )
    one_of("training.precision", training.precision, configs.PRECISIONS)
    for name in ("steps", "accumulation", "d_steps", "steps_per_call", "log_every"):
        at_least(f"training.{name}", getattr(training, name), 1)
    between("training.batch_size", training.batch_size, 1, _MOST_IMAGES)
    for name in ("sample_every", "checkpoint_every", "ema_start", "generator_accumulation"):
        at_least(f"training.{name}", getattr(training, name), 0)
    below_one("training.ema_decay", training.ema_decay)


def _check_small_data_help(config: Config) -> None:
    training, augmentation = config.training, config.augmentation
    for operation in augmentation.policy:
        one_of("augmentation.policy", operation, configs.AUGMENTATIONS)
    if augmentation.adaptive and not augmentation.policy:
        raise InputError(
            "--config.augmentation.adaptive needs --config.augmentation.policy, got ''"
        )
    at_least("augmentation.ada_every", augmentation.ada_every, 1)
    above_zero("augmentation.ada_kimg", augmentation.ada_kimg)
    between("augmentation.ada_target", augmentation.ada_target, -1, 1)
    for name in ("r1_gamma", "ramp_start", "ramp_end", "collapse_share", "early_stop"):
        at_least(f"training.{name}", getattr(training, name), 0)
    at_least("training.r1_every", training.r1_every, 1)
    if training.ramp_end or training.ramp_start:
        at_least("training.ramp_end", training.ramp_end, training.ramp_start + 1)
    if training.early_stop and not (config.evaluation.every and config.evaluation.best):
        raise InputError(
            "--config.training.early_stop needs --config.evaluation.every above 0 and a score as "
            f"--config.evaluation.best, got {config.evaluation.every} and "
            f"{config.evaluation.best!r}"
        )


def _check_evaluation(evaluation: EvaluationConfig) -> None:
    if evaluation.every and not evaluation.metrics:
        raise InputError(
            f"--config.evaluation.metrics must name at least one of {', '.join(METRICS)} "
            "unless --config.evaluation.every=0, got ''"
        )
    for metric in evaluation.metrics:
        one_of("evaluation.metrics", metric, METRICS)
    _check_best(evaluation)
    one_of("evaluation.protocol", evaluation.protocol, configs.PROTOCOLS)
    one_of("evaluation.labels", evaluation.labels, configs.LABEL_SAMPLINGS)
    one_of("evaluation.background", evaluation.background, configs.BACKGROUND)
    at_least("evaluation.num_samples", evaluation.num_samples, 2)
    between("evaluation.batch_size", evaluation.batch_size, 1, _MOST_IMAGES)
    for name in ("every", "standing_batches"):
        at_least(f"evaluation.{name}", getattr(evaluation, name), 0)
    share("evaluation.truncation", evaluation.truncation)
    _check_protocol(evaluation)


def _check_best(evaluation: EvaluationConfig) -> None:
    """A score that is better in one direction, and measured where there are scores."""
    if not evaluation.best:
        return
    one_of("evaluation.best", evaluation.best, directions())
    measured = directions(evaluation.metrics)
    if evaluation.every and evaluation.best not in measured:
        raise InputError(
            "--config.evaluation.best must be a score of --config.evaluation.metrics "
            f"({', '.join(measured) or 'which have none'}) or empty, got {evaluation.best!r}"
        )


def _check_protocol(evaluation: EvaluationConfig) -> None:
    """A named protocol fixes the values that are knobs of the protocol `run`."""
    defaults = EvaluationConfig()
    for name in ("num_samples", "labels", "truncation", "standing_batches"):
        value = getattr(evaluation, name)
        if evaluation.protocol != "run" and value != getattr(defaults, name):
            raise InputError(
                f"--config.evaluation.{name} must be left out with "
                f"--config.evaluation.protocol={evaluation.protocol}, which fixes it, got {value!r}"
            )


def one_of(name, value, choices):
    """`InputError` for a value of the knob --config.<name> that is none of the choices."""
    if value not in choices:
        shown = ", ".join(map(str, choices))
        raise InputError(f"--config.{name} must be one of {shown}, got {value!r}")


def at_least(name, value, least):
    """`InputError` for a value of the knob that is below `least`."""
    _finite(name, value)
    if value < least:
        raise InputError(f"--config.{name} must be at least {least}, got {value}")


def above_zero(name, value):
    """`InputError` for a value of the knob that is not above 0."""
    _finite(name, value)
    if value <= 0:
        raise InputError(f"--config.{name} must be above 0, got {value}")


def below_one(name, value):
    """`InputError` for a value of the knob outside [0, 1)."""
    if not 0 <= value < 1:
        raise InputError(f"--config.{name} must be in [0, 1), got {value}")


def _finite(name, value):
    if not math.isfinite(value):
        raise InputError(f"--config.{name} must be a finite number, got {value}")


def between(name, value, least, most):
    """`InputError` for a value of the knob outside [least, most]."""
    if not least <= value <= most:
        raise InputError(f"--config.{name} must be in [{least}, {most}], got {value}")


def share(name, value):
    """`InputError` for a value of the knob outside (0, 1]."""
    if not 0 < value <= 1:
        raise InputError(f"--config.{name} must be in (0, 1], got {value}")
