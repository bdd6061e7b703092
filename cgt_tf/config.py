"""Every knob of a run, typed. The absl flags `--config.<group>.<field>` come from these classes.

What values they may have is checked by `config_checks`.
"""

import dataclasses

from cgt_tf.errors import InputError

METHODS = ("cgan_transfer", "bsa_adv", "scratch", "transfergan", "freeze_d", "bsa")
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker")
REDUCTIONS = ("mean", "sum")
CLASS_INITS = ("mean_old", "nearest", "normal")
METHOD_STAGES = ("propagate", "fine_tune")
SCORES_INITS = ("uniform", "nearest", "random", "orthogonal")
RESIDUAL_INITS = ("zeros", "normal", "orthogonal", "mean_old")
METRICS = (
    *("fid", "kmmd", "kid", "is", "prdc", "fid_infinity", "intra_fid", "intra_kid"),
    *("diversity", "accuracy", "nearest"),
)
PROTOCOLS = ("run", "fid5k_heldout", "fid10k_heldout", "fid50k_train", "paper")
AUGMENTATIONS = ("color", "translation", "cutout")
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
    """The transfer method; regularisers as in the authors' scripts (section 4.2 of the paper).

    The defaults are the paper's; what its released code does is in configs/presets/.
    """

    name: str = _knob("cgan_transfer", "see the table of methods in the README")
    l1_scores: float = _knob(0.01, "weight of |S|")
    l2_residual: float = _knob(0.1, "weight of R^2")
    reduction: str = _knob("mean", "over each tensor; tensors are summed")
    stage: str = _knob("propagate", "propagate, or fine_tune from the run `start` (section 5.4)")
    start: str = _knob("", "directory of the run whose weights fine_tune starts from")
    start_checkpoint: str = _knob("best", "of that run: best, last or a step")
    propagate: bool = _knob(True, "pseudo-classes and scores; False: residuals alone")
    train_prior: bool = _knob(True, "whether the pseudo-classes are trained")
    residual: bool = _knob(True, "whether new classes have residuals")
    per_layer_scores: bool = _knob(True, "False: one set of scores for all layers")
    scores_init: str = _knob("uniform", "1 / N, or nearest, random, orthogonal; see scores_std")
    scores_std: float = _knob(0.005, "normal noise on the initial scores, but orthogonal ones")
    nearest_classes: int = _knob(5, "old classes that a start at the nearest ones is made of")
    residual_init: str = _knob("zeros", "or normal (spread 0.02), orthogonal, mean_old")
    spectral_norm: bool = _knob(False, "on pseudo-classes, scores and latent projections")
    score_bias: bool = _knob(False, "a bias of the scores, common to the new classes")
    prior_bias: bool = _knob(False, "a bias next to the pseudo-classes")
    latent_bias: bool = _knob(False, "a bias next to the latent projections")
    class_init: str = _knob(
        "mean_old", "of transfergan: mean of the old, of the nearest, or normal with their spread"
    )
    class_init_std: float = _knob(0.1, "of transfergan: normal noise on those means")


@dataclasses.dataclass(kw_only=True)
class BSAConfig:
    """The method `bsa`, see `methods.bsa`; `generator` has the step size of all not named here."""

    code_learning_rate: float = _knob(0.05, "of the images' codes")
    class_learning_rate: float = _knob(1e-3, "of the class vectors, where norms share them")
    linear_learning_rate: float = _knob(1e-7, "of the first linear layer's kernel")
    decay: float = _knob(0.2, "factor of all step sizes every `decay_every` steps")
    decay_every: int = _knob(3000, "steps")
    code_noise: float = _knob(0.01, "spread of the noise on codes")
    emd: float = _knob(0.1, "weight of the distance between codes and normal draws")
    regularizer: float = _knob(0.02, "weight of the class vectors' or tables' squares")
    perceptual: float = _knob(0.001, "weight of each feature map's difference")
    perceptual_net: str = _knob(
        "", "vgg16:<weights file> or a .keras file of images in [-1, 1]; empty: no such term"
    )


@dataclasses.dataclass(kw_only=True)
class OptimizerConfig:
    """Adam of one network."""

    learning_rate: float = _knob(1e-4, "step size")
    beta_1: float = _knob(0.0, "decay of the mean gradient")
    beta_2: float = _knob(0.999, "decay of the mean squared gradient")
    epsilon: float = _knob(1e-6, "added to the root of the squared gradient")
    rampup_steps: int = _knob(0, "updates over which the step size grows from 0, linearly")


@dataclasses.dataclass(kw_only=True)
class DiscriminatorConfig(OptimizerConfig):
    """Where the discriminator comes from, and its Adam."""

    source: str = _knob("", "handle to take it from; empty: the source's own")
    warmup_steps: int = _knob(
        0, "updates of it alone, against the frozen starting generator, before step 1"
    )
    freeze_blocks: int = _knob(
        0, "image-side blocks that stay as in the source; 0: none (freeze_d: half of them)"
    )
    learning_rate: float = _knob(4e-4, "step size")


@dataclasses.dataclass(kw_only=True)
class AugmentationConfig:
    """What happens to every image that D sees, real and generated; see `data.augment`."""

    policy: tuple[str, ...] = _knob((), f"in this order, of {', '.join(AUGMENTATIONS)}; empty: off")
    adaptive: bool = _knob(False, "ADA: each with a probability that follows D's overfitting")
    ada_target: float = _knob(0.6, "mean sign of D(real) that the probability is steered to")
    ada_kimg: float = _knob(100.0, "thousand images from probability 0 to 1; from scratch: 500")
    ada_every: int = _knob(4, "steps between its changes")


@dataclasses.dataclass(kw_only=True)
class TrainingConfig:
    """The loop."""

    steps: int = _knob(1000, "generator updates")
    batch_size: int = _knob(64, "images of one pass, over all replicas")
    accumulation: int = _knob(1, "passes averaged into one update")
    generator_accumulation: int = _knob(0, "the same for the generator; 0: as many")
    d_steps: int = _knob(1, "discriminator updates a generator update")
    ema_decay: float = _knob(0.999, "of the generator; 0: no averaging")
    ema_start: int = _knob(0, "until this step the average is the generator itself")
    ema_rampup: bool = _knob(False, "decay of at most (1 + t) / (10 + t), t steps after ema_start")
    r1_gamma: float = _knob(0.0, "R1: weight of half the squared gradient of D(real); 0: none")
    r1_every: int = _knob(16, "D updates from one R1 to the next, which counts as often")
    ramp_start: int = _knob(0, "step at which D's class part starts to count; see ramp_end")
    ramp_end: int = _knob(0, "step from which D's class part counts fully; 0: no such ramp")
    ramp_generator: bool = _knob(
        True, "whether G's class part grows with D's; there are no scores before ramp_end then"
    )
    collapse_share: float = _knob(
        0.3, "alarm below this variance_ratio (of evaluation.metrics=diversity); 0: off"
    )
    early_stop: int = _knob(0, "evaluations without a lower FID that end the run; 0: never")
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
    metrics: tuple[str, ...] = _knob(("fid", "kmmd", "diversity"), f"of {', '.join(METRICS)}")
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
    bsa: BSAConfig = dataclasses.field(default_factory=BSAConfig)
    generator: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
    discriminator: DiscriminatorConfig = dataclasses.field(default_factory=DiscriminatorConfig)
    augmentation: AugmentationConfig = dataclasses.field(default_factory=AugmentationConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)


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
