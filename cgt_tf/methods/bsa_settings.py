"""Knobs of bsa."""

import dataclasses

from cgt_tf.config import Config, knob
from cgt_tf.config_checks import at_least
from cgt_tf.errors import InputError

# Settings of adversarial training, and flips, which would share a code between two images.
_WITHOUT_EFFECT = (
    *("data.flip", "generator.rampup_steps", "training.d_steps", "training.r1_gamma"),
    *("discriminator.source", "discriminator.warmup_steps", "discriminator.freeze_blocks"),
    *("training.ramp_end", "augmentation.policy", "augmentation.adaptive"),
)


@dataclasses.dataclass(kw_only=True)
class BSASettings:
    """`generator` has the learning rate of all variables that are not named here."""

    code_learning_rate: float = knob(0.05, "learning rate of the images' codes")
    class_learning_rate: float = knob(1e-3, "learning rate of class vectors that all norms share")
    linear_learning_rate: float = knob(1e-7, "learning rate of the first linear layer's kernel")
    decay: float = knob(0.2, "factor of all learning rates every `decay_every` steps")
    decay_every: int = knob(3000, "steps")
    code_noise: float = knob(0.01, "spread of the noise on codes")
    emd: float = knob(0.1, "weight of the distance between codes and normal draws")
    regularizer: float = knob(0.02, "weight of the class vectors' or tables' squares")
    perceptual: float = knob(0.001, "weight of each feature map's difference")
    perceptual_net: str = knob(
        "", "vgg16:<weights file> or a .keras file of images in [-1, 1]; empty: no such term"
    )

    def check(self, config: Config) -> None:
        """Raises InputError for values out of range, and for knobs that have no effect here."""
        for field in dataclasses.fields(self):
            if field.name != "perceptual_net":
                least = 1 if field.name == "decay_every" else 0
                at_least(f"{config.method.name}.{field.name}", getattr(self, field.name), least)
        defaults = Config()
        for name in _WITHOUT_EFFECT:
            group, _, field = name.partition(".")
            value, default = (getattr(getattr(x, group), field) for x in (config, defaults))
            if value != default:
                raise InputError(
                    f"{config.method.name} has no discriminator, and one code an image: expected "
                    f"--config.{name}={default!r}, got {value!r}"
                )
