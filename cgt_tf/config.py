"""The knobs that all runs share, typed. The flags `--config.<group>.<field>` come from them.

What values they may have is checked by `config_checks`. A method adds a group of its own, which is
declared in the method's file; `methods.registry` puts both together.
"""

import dataclasses
from typing import get_args, get_type_hints

from cgt_tf.errors import InputError
from cgt_tf.metrics.registry import METRICS

STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker")
PROTOCOLS = ("run", "fid5k_heldout", "fid10k_heldout", "fid50k_train", "fid2k_train", "paper")
AUGMENTATIONS = ("color", "translation", "cutout")
LABEL_SAMPLINGS = ("uniform", "as_data")
# The ten that most runs set, which `--help` shows first.
COMMON_KNOBS = (
    *("source", "data.train", "data.heldout", "data.classes", "data.images_per_class"),
    *("method.name", "training.steps", "training.batch_size", "evaluation.features", "seed"),
)

# What may change when a run is resumed, as beginnings of knobs' names, and what its scores depend
# on among these.
CHANGEABLE = (
    *("evaluation.", "data.heldout", "data.cache_dir", "data.memory_gb"),
    *("training.steps", "training.strategy", "training.on_divergence"),
    *("training.log_every", "training.sample_every", "training.checkpoint_every"),
    "training.collapse_share",
)
SCORE_KNOBS = (
    *("data.heldout", "evaluation.features", "evaluation.protocol", "evaluation.num_samples"),
    *("evaluation.labels", "evaluation.truncation", "evaluation.standing_batches"),
)
AUTO = "auto"
DIVERGENCE = ("stop", "reduce_lr")
PRECISIONS = ("float32", "bfloat16")
BACKGROUND = ("auto", "on", "off")
MEMORY_GB = 4.0


def knob(default, help_text: str):
    """A field of a group of knobs, with the text that `--help` shows for it."""
    return dataclasses.field(default=default, metadata={"help": help_text})


@dataclasses.dataclass(kw_only=True)
class DataConfig:
    """Training images and the held-out images they are judged by.

    Specs: `bundled:glyphs[/subset]`, `tfds:<name[:version]>[/split]`, a directory of class folders,
    or a prepared dataset directory.
    """

    train: str = knob("bundled:glyphs/target", "training images, a data spec")
    heldout: str = knob(
        "", "empty: the spec's own test split, else what the few-shot draw leaves over"
    )
    classes: tuple[str, ...] = knob((), "empty: all")
    images_per_class: int = knob(0, "0: all; else drawn by `draw_seed`")
    draw_seed: int = knob(-1, "seed of that draw; -1: the run's `seed`")
    unlabelled: bool = knob(False, "drop the labels: one class, all, of all chosen images")
    flip: bool = knob(False, "random horizontal flips")
    memory_gb: float = knob(
        MEMORY_GB, "1e9 bytes of images that a set may take; a larger one is read from disk"
    )
    cache_dir: str = knob("", "empty: $CGT_TF_CACHE, else ~/.cache/cgt_tf")


@dataclasses.dataclass(kw_only=True)
class ModelConfig:
    """Networks trained from scratch; a transfer takes its networks from the source."""

    resolution: int = knob(32, "side of the images, in pixels: 32, 64, 128, 256 or 512")
    channels: int = knob(0, "width multiplier; 0: the published one")
    dim_z: int = knob(0, "0: the published one")
    hierarchical: bool = knob(True, "chunks of z go to every block; False: all to the first layer")
    shared_dim: int = knob(128, "shared class embedding; 0: one table a layer")
    embedding_gain: float = knob(1.0, "norm of the initial class embeddings; the published is 1")
    g_widths: tuple[int, ...] = knob((), "explicit widths instead of `channels` times the table")
    d_widths: tuple[int, ...] = knob((), "the same for the discriminator")
    d_halvings: int = knob(0, "halving blocks of D, with `d_widths`; 0: all but the last")
    attention: tuple[int, ...] = knob((), "feature map sides that get self-attention, in G and D")
    fused: bool = knob(True, "fused resampling convolutions; False: the plain form")


@dataclasses.dataclass(kw_only=True)
class MethodConfig:
    """Which transfer method; its knobs are a group of the method's own name."""

    name: str = knob("", "see the table of methods in the README")


@dataclasses.dataclass(kw_only=True)
class OptimizerConfig:
    """Adam of one network."""

    learning_rate: float = knob(1e-4, "learning rate of Adam")
    beta_1: float = knob(0.0, "decay of the mean gradient")
    beta_2: float = knob(0.999, "decay of the mean squared gradient")
    epsilon: float = knob(1e-6, "added to the corrected root of the squared gradient, as PyTorch")
    rampup_steps: int = knob(0, "updates over which the learning rate grows from 0, linearly")


@dataclasses.dataclass(kw_only=True)
class DiscriminatorConfig(OptimizerConfig):
    """Where the discriminator comes from, and its Adam."""

    source: str = knob("", "handle to take it from; empty: the source's own")
    warmup_steps: int = knob(
        0, "first stage: so many steps of it alone, against the frozen starting generator"
    )
    freeze_blocks: int = knob(
        0, "image-side blocks that stay as in the source; 0: the method's choice, mostly none"
    )
    learning_rate: float = knob(4e-4, "learning rate of Adam")


@dataclasses.dataclass(kw_only=True)
class AugmentationConfig:
    """What happens to every image that D sees, real and generated; see `data.augment`."""

    policy: tuple[str, ...] = knob((), f"in this order, of {', '.join(AUGMENTATIONS)}; empty: off")
    adaptive: bool = knob(False, "ADA: each with a probability that follows D's overfitting")
    ada_target: float = knob(0.6, "mean sign of D(real) that the probability is steered to")
    ada_kimg: float = knob(100.0, "thousand images from probability 0 to 1; from scratch: 500")
    ada_every: int = knob(4, "steps between its changes")


@dataclasses.dataclass(kw_only=True)
class TrainingConfig:
    """The loop."""

    steps: int = knob(1000, "length of the run's last stage; others have a knob of the method's")
    batch_size: int = knob(64, "images of a microbatch, over all replicas")
    accumulation: int = knob(1, "microbatches of an update, whose gradients are averaged")
    generator_accumulation: int = knob(0, "the same for the generator; 0: as many")
    d_steps: int = knob(1, "discriminator updates a generator update")
    ema_decay: float = knob(0.999, "of the generator; 0: no EMA, as cGANTransfer's scripts")
    ema_start: int = knob(0, "until this step of the run the EMA is the generator itself")
    ema_rampup: bool = knob(
        True,
        "decay of at most (1 + t) / (10 + t), t steps after ema_start; without, 1,000 steps at "
        "0.999 leave 37 % of the start in the EMA",
    )
    r1_gamma: float = knob(0.0, "R1: weight of half the squared gradient of D(real); 0: none")
    r1_every: int = knob(16, "D updates from one R1 to the next, which counts as often")
    ramp_start: int = knob(
        0, "step of the run at which D's class part starts to count; see ramp_end"
    )
    ramp_end: int = knob(0, "step from which D's class part counts fully; 0: no such ramp")
    ramp_generator: bool = knob(
        True,
        "whether G's classes grow from their mean with it; there are no scores before ramp_end "
        "then",
    )
    collapse_share: float = knob(
        0.3, "alarm below this variance_ratio (of evaluation.metrics=diversity); 0: off"
    )
    on_divergence: str = knob(
        "stop", "or reduce_lr: half the learning rates, from the last checkpoint, thrice at most"
    )
    early_stop: int = knob(
        0, "evaluations without a better score (evaluation.best) that end the run; 0: never"
    )
    strategy: str = knob("auto", "auto | one_device | mirrored | multi_worker")
    precision: str = knob(
        "float32", "or bfloat16: of convolutions and feature maps in training; all else is float32"
    )
    deterministic: bool = knob(True, "deterministic TensorFlow ops: resume is exact")
    steps_per_call: int = knob(
        10,
        "steps made without looking at signals, at most, and no more than take about a second; "
        "changes no number",
    )
    log_every: int = knob(20, "steps between lines of stats.jsonl")
    sample_every: int = knob(200, "steps between sample grids; 0: none")
    checkpoint_every: int = knob(
        200, "steps between checkpoints; 0: with scores and at the end only"
    )


@dataclasses.dataclass(kw_only=True)
class EvaluationConfig:
    """Scores on a schedule, and what `cgt-evaluate` computes by default."""

    every: int = knob(200, "steps; 0: never during training")
    features: str = knob(
        AUTO,
        "auto: the bundled classifier that fits, else Inception; or bundled:<name>, "
        "inception[:<dir>], a Keras model file, a SavedModel",
    )
    force_features: bool = knob(False, "allow bundled:glyph_classifier for other images")
    metrics: tuple[str, ...] = knob(("fid", "kmmd", "diversity"), f"any of {', '.join(METRICS)}")
    best: str = knob(
        "fid",
        "the score that makes a checkpoint the best, which is kept and taken by other commands; "
        "empty: the last is",
    )
    background: str = knob(
        "auto",
        "compute metrics in a thread while training goes on: on, off, or auto: where it goes on on "
        "a GPU",
    )
    batch_size: int = knob(100, "images of a batch when scoring, over all replicas")
    protocol: str = knob("run", "run: the values below; or one of fixed values, see the README")
    num_samples: int = knob(2000, "generated images that are scored")
    labels: str = knob("uniform", "of the generated images: uniform, or as_data")
    truncation: float = knob(1.0, "truncation of the latents, in (0, 1]; 1: none")
    standing_batches: int = knob(
        0, "batches that batch-norm statistics are taken from to score; 0: running statistics"
    )


@dataclasses.dataclass(kw_only=True)
class Config:
    """One run, but for the method's own group. `source` is a handle; see `cgt_tf.load_source`."""

    seed: int = knob(0, "seed of weights, draws, shuffling and the few-shot subset")
    source: str = knob(
        "bundled:glyphs32",
        "source GAN: bundled:<name>, tfhub:<handle or dir>, pth:<file>, model:<dir> or run:<dir>; "
        "unused by methods that start without one",
    )
    source_truncation: float = knob(
        1.0, "truncation whose batch-norm statistics the new classes start from"
    )
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    method: MethodConfig = dataclasses.field(default_factory=MethodConfig)
    generator: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    discriminator: DiscriminatorConfig = dataclasses.field(default_factory=DiscriminatorConfig)
    augmentation: AugmentationConfig = dataclasses.field(default_factory=AugmentationConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)


def to_dict(config: Config) -> dict:
    """Plain nested dict, as written to `config.json`; tuples become lists there."""
    return dataclasses.asdict(config)


def from_dict(values: dict, config_type: type[Config] = Config) -> Config:
    """The inverse of `to_dict`, also after a JSON round trip; an unknown field is an InputError."""
    return _from_dict(config_type, values, "")


def _from_dict(cls, values, prefix):
    if not isinstance(values, dict):
        name = prefix.removesuffix(".")
        raise InputError(f"config field {name} must be a group of fields, got {values!r}")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise InputError(f"unknown config field {prefix}{unknown[0]}")
    defaults, hints = cls(), get_type_hints(cls)
    arguments = {}
    for name, value in values.items():
        default = getattr(defaults, name)
        if dataclasses.is_dataclass(default):
            value = _from_dict(type(default), value, f"{prefix}{name}.")
        else:
            value = _typed(value, hints[name], prefix + name)
        arguments[name] = value
    return cls(**arguments)


def _typed(value, kind, name: str):
    """A field's value from JSON; `InputError` for one of another type."""
    items = get_args(kind)
    if items and isinstance(value, list | tuple):
        return tuple(_typed(item, items[0], name) for item in value)
    # Python counts True as an integer, and JSON writes 1.0 as 1 now and then.
    allowed = (int, float) if kind is float else kind
    if items or isinstance(value, bool) != (kind is bool) or not isinstance(value, allowed):
        expected = f"a list of {items[0].__name__}" if items else kind.__name__
        raise InputError(f"config field {name} must be {expected}, got {type(value).__name__}")
    return value
