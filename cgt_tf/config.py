"""Every knob of a run, typed. The absl flags `--config.<group>.<field>` come from these classes."""

import dataclasses

from cgt_tf.errors import InputError

METHODS = ("cgan_transfer", "scratch")
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker")
REDUCTIONS = ("mean", "sum")
METRICS = (
    *("fid", "kmmd", "kid", "is", "prdc", "fid_infinity", "intra_fid", "intra_kid"),
    *("diversity", "accuracy", "nearest"),
)
PROTOCOLS = ("run", "fid5k_heldout", "fid10k_heldout", "fid50k_train", "paper")
LABEL_SAMPLINGS = ("uniform", "as_data")


def _knob(default, help_text: str):
    """A field with the text that `--help` shows for it."""
    return dataclasses.field(default=default, metadata={"help": help_text})


@dataclasses.dataclass(kw_only=True)
class DataConfig:
    """Training images and the held-out images they are judged by.

    Specs: `bundled:glyphs[/subset]`, `tfds:<name[:version]>[/split]`, a directory of class folders,
    or a prepared dataset directory.
    """

    train: str = _knob("bundled:glyphs/target", "training images, a data spec")
    heldout: str = _knob(
        "", "empty: the spec's own test split, else what the few-shot draw leaves over"
    )
    classes: tuple[str, ...] = _knob((), "empty: all")
    images_per_class: int = _knob(0, "0: all; else drawn by `seed`")
    flip: bool = _knob(False, "random horizontal flips")
    cache_dir: str = _knob("", "empty: $CGT_TF_CACHE, else ~/.cache/cgt_tf")


@dataclasses.dataclass(kw_only=True)
class ModelConfig:
    """Networks trained from scratch; a transfer takes its networks from the source."""

    resolution: int = _knob(32, "side of the images, in pixels: 32, 64, 128, 256 or 512")
    channels: int = _knob(0, "width multiplier; 0: the published one")
    dim_z: int = _knob(0, "0: the published one")
    hierarchical: bool = _knob(True, "chunks of z go to every block; False: all to the first layer")
    shared_dim: int = _knob(128, "shared class embedding; 0: one table a layer")
    embedding_gain: float = _knob(1.0, "norm of the initial class embeddings; the published is 1")
    g_widths: tuple[int, ...] = _knob((), "explicit widths instead of `channels` times the table")
    d_widths: tuple[int, ...] = _knob((), "the same for the discriminator")
    d_halvings: int = _knob(0, "halving blocks of D, with `d_widths`; 0: all but the last")
    attention: tuple[int, ...] = _knob((), "feature map sides that get self-attention, in G and D")
    fused: bool = _knob(True, "fused resampling convolutions; False: the plain form")


@dataclasses.dataclass(kw_only=True)
class MethodConfig:
    """The transfer method; regularisers as in methods' scripts (section 4.2 of the paper)."""

    name: str = _knob("cgan_transfer", "cgan_transfer or scratch")
    l1_scores: float = _knob(0.01, "weight of |S|")
    l2_residual: float = _knob(0.1, "weight of R^2")
    reduction: str = _knob("mean", "over each tensor; tensors are summed")
    scores_std: float = _knob(0.005, "spread of the initial scores around 1 / N")


@dataclasses.dataclass(kw_only=True)
class OptimizerConfig:
    """Adam of one network."""

    learning_rate: float = _knob(1e-4, "step size")
    beta_1: float = _knob(0.0, "decay of the mean gradient")
    beta_2: float = _knob(0.999, "decay of the mean squared gradient")
    epsilon: float = _knob(1e-6, "added to the root of the squared gradient")


@dataclasses.dataclass(kw_only=True)
class DiscriminatorConfig(OptimizerConfig):
    """Where the discriminator comes from, and its Adam."""

    source: str = _knob("", "handle to take it from; empty: the source's own")
    warmup_steps: int = _knob(
        0, "updates of it alone, against the frozen starting generator, before step 1"
    )
    learning_rate: float = _knob(4e-4, "step size")


@dataclasses.dataclass(kw_only=True)
class TrainingConfig:
    """The loop."""

    steps: int = _knob(1000, "generator updates")
    batch_size: int = _knob(64, "images of one pass, over all replicas")
    accumulation: int = _knob(1, "passes averaged into one update")
    d_steps: int = _knob(1, "discriminator updates a generator update")
    ema_decay: float = _knob(0.999, "of the generator; 0: no averaging")
    ema_start: int = _knob(0, "until this step the average is the generator itself")
    strategy: str = _knob("auto", "auto | one_device | mirrored | multi_worker")
    deterministic: bool = _knob(True, "deterministic TensorFlow ops: resume is exact")
    log_every: int = _knob(20, "steps between lines of stats.jsonl")
    sample_every: int = _knob(200, "steps between sample grids; 0: none")
    checkpoint_every: int = _knob(
        200, "steps between checkpoints; 0: with scores and at the end only"
    )


@dataclasses.dataclass(kw_only=True)
class EvaluationConfig:
    """Scores on a schedule, and what `cgt-evaluate` computes by default."""

    every: int = _knob(200, "steps; 0: never during training")
    features: str = _knob(
        "bundled:glyph_classifier", "or inception[:<dir>], a Keras model file, a SavedModel"
    )
    metrics: tuple[str, ...] = _knob(("fid", "kmmd"), f"of {', '.join(METRICS)}")
    batch_size: int = _knob(100, "images of one pass when scoring, over all replicas")
    protocol: str = _knob("run", "run: the values below; or one of fixed values, see the README")
    num_samples: int = _knob(2000, "generated images that are scored")
    labels: str = _knob("uniform", "of the generated images: uniform, or as_data")
    truncation: float = _knob(1.0, "of the latents, in (0, 1]; 1: none")
    standing_batches: int = _knob(
        0, "batches that batch-norm statistics are taken from to score; 0: running statistics"
    )


@dataclasses.dataclass(kw_only=True)
class Config:
    """One run. `source` is a handle; see `cgt_tf.load_source`."""

    seed: int = _knob(0, "of weights, draws, shuffling and the few-shot subset")
    source: str = _knob(
        "bundled:glyphs32",
        "source GAN: bundled:<name>, tfhub:<handle or dir>, pth:<file>, model:<dir> or run:<dir>; "
        "unused by scratch",
    )
    source_truncation: float = _knob(
        1.0, "truncation whose batch-norm statistics the new classes start from"
    )
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    method: MethodConfig = dataclasses.field(default_factory=MethodConfig)
    generator: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    discriminator: DiscriminatorConfig = dataclasses.field(default_factory=DiscriminatorConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)


def validate(config: Config) -> None:
    """Raises InputError for the first value out of its range; needs no TensorFlow."""
    _one_of("method.name", config.method.name, METHODS)
    _one_of("method.reduction", config.method.reduction, REDUCTIONS)
    _one_of("training.strategy", config.training.strategy, STRATEGIES)
    for metric in config.evaluation.metrics:
        _one_of("evaluation.metrics", metric, METRICS)
    _one_of("evaluation.protocol", config.evaluation.protocol, PROTOCOLS)
    _one_of("evaluation.labels", config.evaluation.labels, LABEL_SAMPLINGS)
    for name in ("steps", "batch_size", "accumulation", "d_steps", "log_every"):
        _at_least(f"training.{name}", getattr(config.training, name), 1)
    for name in ("sample_every", "checkpoint_every", "ema_start"):
        _at_least(f"training.{name}", getattr(config.training, name), 0)
    _at_least("evaluation.num_samples", config.evaluation.num_samples, 2)
    _at_least("evaluation.batch_size", config.evaluation.batch_size, 1)
    _at_least("evaluation.every", config.evaluation.every, 0)
    _at_least("evaluation.standing_batches", config.evaluation.standing_batches, 0)
    if not 0 < config.evaluation.truncation <= 1:
        raise InputError(
            f"--config.evaluation.truncation must be in (0, 1], got {config.evaluation.truncation}"
        )
    _check_protocol(config.evaluation)
    _at_least("data.images_per_class", config.data.images_per_class, 0)
    for name in ("l1_scores", "l2_residual", "scores_std"):
        _at_least(f"method.{name}", getattr(config.method, name), 0)
    for group in ("generator", "discriminator"):
        optimizer = getattr(config, group)
        _at_least(f"{group}.learning_rate", optimizer.learning_rate, 0)
        for beta in ("beta_1", "beta_2"):
            _below_one(f"{group}.{beta}", getattr(optimizer, beta))
    _below_one("training.ema_decay", config.training.ema_decay)
    _at_least("discriminator.warmup_steps", config.discriminator.warmup_steps, 0)
    if not 0 < config.source_truncation <= 1:
        raise InputError(
            f"--config.source_truncation must be in (0, 1], got {config.source_truncation}"
        )
    if not config.data.train:
        raise InputError("--config.data.train must name a dataset or a directory, got ''")
    if config.method.name != "scratch" and not config.source:
        raise InputError(f"--config.source must be a handle for {config.method.name}, got ''")


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


def to_dict(config: Config) -> dict:
    """Plain nested dict, as written to `config.json`; tuples become lists there."""
    return dataclasses.asdict(config)


def from_dict(values: dict) -> Config:
    """The inverse of `to_dict`, also after a JSON round trip; an unknown field is an InputError."""
    return _from_dict(Config, values, "")


def _from_dict(cls, values, prefix):
    if not isinstance(values, dict):
        name = prefix.removesuffix(".")
        raise InputError(f"config field {name} must be a group of fields, got {values!r}")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise InputError(f"unknown config field {prefix}{unknown[0]}")
    defaults = cls()
    arguments = {}
    for name, value in values.items():
        default = getattr(defaults, name)
        if dataclasses.is_dataclass(default):
            value = _from_dict(type(default), value, f"{prefix}{name}.")
        elif isinstance(default, tuple):
            value = tuple(value)
        arguments[name] = value
    return cls(**arguments)
