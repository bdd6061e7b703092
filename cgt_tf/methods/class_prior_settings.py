"""Knobs of class_prior."""

import dataclasses

from cgt_tf.config import Config, knob
from cgt_tf.config_checks import above_zero, at_least, one_of

_STARTS = ("similar", "mean", "random")
_TABLES = ("similar", "random")


@dataclasses.dataclass(kw_only=True)
class ClassPriorSettings:
    """The prior and its weights, and where the new classes start."""

    start: str = knob(
        "similar",
        "at old classes that are alike; or mean: of all; random: drawn from the prior",
    )
    temperature: float = knob(1.0, "temperature of the similarities; higher mixes more old classes")
    class_table: str = knob("similar", "start of the discriminator's classes: alike, or random")
    joint: bool = knob(True, "coordinates for all layers together; False: each scale's and shift's")
    whitened: bool = knob(True, "coordinates without correlation; False: weights of old classes")
    common_shift: bool = knob(True, "a shift of all new classes; residuals then add up to 0")
    residual: bool = knob(True, "whether new classes have residuals")
    l2_prior: float = knob(0.1, "weight of the coordinates' mean square, 1 of an old class")
    l2_residual: float = knob(0.1, "weight of the residuals', in units of the old deviations'")
    equal_updates: bool = knob(
        True, "learning rates such that all parts change the offsets equally fast; False: one rate"
    )

    def check(self, config: Config) -> None:
        """Raises InputError for values out of their range."""
        name = config.method.name
        one_of(f"{name}.start", self.start, _STARTS)
        one_of(f"{name}.class_table", self.class_table, _TABLES)
        above_zero(f"{name}.temperature", self.temperature)
        for field in ("l2_prior", "l2_residual"):
            at_least(f"{name}.{field}", getattr(self, field), 0)
