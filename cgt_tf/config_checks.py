"""Which values the knobs of `config` may have; needs no TensorFlow."""

import dataclasses

from cgt_tf import config as configs
from cgt_tf.config import Config, EvaluationConfig, ModelConfig
from cgt_tf.errors import InputError


def validate(config: Config) -> None:
    """Raises InputError for the first value out of its range."""
    if not 0 <= config.seed < 2**32:
        raise InputError(f"--config.seed must be from 0 to 2**32 - 1, got {config.seed}")
    if not config.data.train:
        raise InputError("--config.data.train must name a dataset or a directory, got ''")
    _at_least("data.images_per_class", config.data.images_per_class, 0)
    _check_source(config)
    _check_model(config.model)
    _check_method(config)
    _check_optimizers(config)
    _check_training(config)
    _check_small_data_help(config)
    _check_evaluation(config.evaluation)


def _check_source(config: Config) -> None:
    if config.method.name != "scratch" and not config.source:
        raise InputError(f"--config.source must be a handle for {config.method.name}, got ''")
    _share("source_truncation", config.source_truncation)


def _check_model(model: ModelConfig) -> None:
    for name in ("channels", "dim_z", "shared_dim", "d_halvings", "embedding_gain"):
        _at_least(f"model.{name}", getattr(model, name), 0)
    for name in ("g_widths", "d_widths", "attention"):
        for width in getattr(model, name):
            _at_least(f"model.{name}", width, 1)


def _check_method(config: Config) -> None:
    method = config.method
    _one_of("method.name", method.name, configs.METHODS)
    _one_of("method.reduction", method.reduction, configs.REDUCTIONS)
    _one_of("method.class_init", method.class_init, configs.CLASS_INITS)
    _one_of("method.stage", method.stage, configs.METHOD_STAGES)
    _one_of("method.scores_init", method.scores_init, configs.SCORES_INITS)
    _one_of("method.residual_init", method.residual_init, configs.RESIDUAL_INITS)
    _at_least("method.nearest_classes", method.nearest_classes, 1)
    for name in ("l1_scores", "l2_residual", "scores_std", "class_init_std"):
        _at_least(f"method.{name}", getattr(method, name), 0)
    if not (method.propagate or method.residual):
        raise InputError("--config.method.propagate and --config.method.residual are both False")
    if (method.stage == "fine_tune") != bool(method.start):
        raise InputError(
            "--config.method.stage=fine_tune and --config.method.start=<run> go together, got "
            f"{method.stage!r} and {method.start!r}"
        )
    if method.start and config.discriminator.warmup_steps:
        raise InputError(
            "expected --config.discriminator.warmup_steps=0 with --config.method.start, whose "
            f"discriminator is trained, got {config.discriminator.warmup_steps}"
        )
    for field in dataclasses.fields(config.bsa):
        if field.name != "perceptual_net":
            least = 1 if field.name == "decay_every" else 0
            _at_least(f"bsa.{field.name}", getattr(config.bsa, field.name), least)


def _check_optimizers(config: Config) -> None:
    for group in ("generator", "discriminator"):
        optimizer = getattr(config, group)
        _at_least(f"{group}.learning_rate", optimizer.learning_rate, 0)
        _at_least(f"{group}.rampup_steps", optimizer.rampup_steps, 0)
        for beta in ("beta_1", "beta_2"):
            _below_one(f"{group}.{beta}", getattr(optimizer, beta))
    _at_least("discriminator.warmup_steps", config.discriminator.warmup_steps, 0)
    _at_least("discriminator.freeze_blocks", config.discriminator.freeze_blocks, 0)


def _check_training(config: Config) -> None:
    training = config.training
    _one_of("training.strategy", training.strategy, configs.STRATEGIES)
    for name in ("steps", "batch_size", "accumulation", "d_steps", "log_every"):
        _at_least(f"training.{name}", getattr(training, name), 1)
    for name in ("sample_every", "checkpoint_every", "ema_start", "generator_accumulation"):
        _at_least(f"training.{name}", getattr(training, name), 0)
    _below_one("training.ema_decay", training.ema_decay)


def _check_small_data_help(config: Config) -> None:
    training, augmentation = config.training, config.augmentation
    for operation in augmentation.policy:
        _one_of("augmentation.policy", operation, configs.AUGMENTATIONS)
    if augmentation.adaptive and not augmentation.policy:
        raise InputError(
            "--config.augmentation.adaptive needs --config.augmentation.policy, got ''"
        )
    _at_least("augmentation.ada_every", augmentation.ada_every, 1)
    if augmentation.ada_kimg <= 0:
        raise InputError(
            f"--config.augmentation.ada_kimg must be above 0, got {augmentation.ada_kimg}"
        )
    for name in ("r1_gamma", "ramp_start", "ramp_end", "collapse_share", "early_stop"):
        _at_least(f"training.{name}", getattr(training, name), 0)
    _at_least("training.r1_every", training.r1_every, 1)
    if training.ramp_end or training.ramp_start:
        _at_least("training.ramp_end", training.ramp_end, training.ramp_start + 1)
    if training.ramp_end > training.steps:
        raise InputError(
            f"--config.training.ramp_end must be at most --config.training.steps {training.steps}, "
            f"got {training.ramp_end}"
        )
    if training.early_stop and not (config.evaluation.every and "fid" in config.evaluation.metrics):
        raise InputError(
            "--config.training.early_stop needs fid among --config.evaluation.metrics and "
            f"--config.evaluation.every above 0, got {', '.join(config.evaluation.metrics)!r} "
            f"and {config.evaluation.every}"
        )


def _check_evaluation(evaluation: EvaluationConfig) -> None:
    for metric in evaluation.metrics:
        _one_of("evaluation.metrics", metric, configs.METRICS)
    _one_of("evaluation.protocol", evaluation.protocol, configs.PROTOCOLS)
    _one_of("evaluation.labels", evaluation.labels, configs.LABEL_SAMPLINGS)
    _at_least("evaluation.num_samples", evaluation.num_samples, 2)
    _at_least("evaluation.batch_size", evaluation.batch_size, 1)
    for name in ("every", "standing_batches"):
        _at_least(f"evaluation.{name}", getattr(evaluation, name), 0)
    _share("evaluation.truncation", evaluation.truncation)
    _check_protocol(evaluation)


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


def _one_of(name, value, choices):
    if value not in choices:
        raise InputError(f"--config.{name} must be one of {', '.join(choices)}, got {value!r}")


def _at_least(name, value, least):
    if value < least:
        raise InputError(f"--config.{name} must be at least {least}, got {value}")


def _below_one(name, value):
    if not 0 <= value < 1:
        raise InputError(f"--config.{name} must be in [0, 1), got {value}")


def _share(name, value):
    if not 0 < value <= 1:
        raise InputError(f"--config.{name} must be in (0, 1], got {value}")
