"""What `cgt-sample` is asked to draw, as its flags say it."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cgt_tf.errors import InputError

CLASSES = "classes"
# What may be drawn instead of classes, by its flag, and which other flags go with each.
_TAKES = {
    CLASSES: ("classes", "columns", "truncation"),
    "interpolate": ("columns", "rows", "truncation"),
    "mix": ("columns", "truncation"),
    "truncations": ("classes", "columns"),
    "pseudo_classes": ("classes", "columns", "truncation"),
    "layers": ("classes", "truncation"),
}
_OPTIONAL = ("classes", "columns", "rows", "truncation")
_MOST_ROWS = 40  # Of a picture whose classes were not chosen.


@dataclasses.dataclass(frozen=True, kw_only=True)
class PictureRequest:
    """The flags of `cgt-sample`; None and () stand for the default.

    Attributes:
        model, checkpoint: A run, a SavedModel or a source's handle; which checkpoint of a run.
        output: A picture ending in .png, or a folder for single images.
        classes: Names of the rows' classes.
        columns, rows: Images of a row; rows of an interpolation.
        seed: Seed of the first column, or row of an interpolation.
        truncation: In (0, 1].
        scale: Enlargement of a picture.
        interpolate: Two classes.
        mix: Weights by class.
        truncations: A strip for each.
        pseudo_classes, layers: Whether these are drawn.
    """

    model: str
    output: str
    checkpoint: str = "best"
    classes: tuple[str, ...] = ()
    columns: int | None = None
    rows: int | None = None
    seed: int = 0
    truncation: float | None = None
    scale: int | None = None
    interpolate: tuple[str, ...] = ()
    mix: Mapping[str, float] = dataclasses.field(default_factory=dict)
    truncations: tuple[float, ...] = ()
    pseudo_classes: bool = False
    layers: bool = False

    @classmethod
    def from_flags(cls, values: Mapping[str, Any]) -> "PictureRequest":
        """Takes the values of its fields by the names of the flags.

        Raises:
            InputError: values that are none, or that do not go together.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        given = {name: values[name] for name in names}
        given |= {name: tuple(values[name] or ()) for name in ("classes", "interpolate")}
        given["mix"] = _weights(values["mix"] or ())
        texts = values["truncations"] or ()
        given["truncations"] = tuple(_number(text, "--truncations") for text in texts)
        return cls(**given)

    def __post_init__(self):
        for name, value in (("truncation", self.truncation), *self._each_truncation):
            if value is not None and not 0 < value <= 1:
                raise InputError(f"expected --{name} in (0, 1], got {value:g}")
        if (self.interpolate and len(set(self.interpolate)) != 2) or len(self.interpolate) > 2:
            raise InputError(
                "expected --interpolate=<class>,<class>, two different ones, got "
                f"{','.join(self.interpolate)}"
            )
        kind = self.kind
        for name in _OPTIONAL:
            value = getattr(self, name)
            if value not in (None, ()) and name not in _TAKES[kind]:
                with_kind = "" if kind == CLASSES else f" with --{kind}"
                shown = ",".join(value) if name == CLASSES else value
                raise InputError(f"expected no --{name}{with_kind}, got {shown}")
        if self.scale is not None and self.to_folder:
            raise InputError(f"expected no --scale with a folder of images, got {self.scale}")

    @property
    def _each_truncation(self) -> list[tuple[str, float]]:
        return [("truncations", value) for value in self.truncations]

    @property
    def kind(self) -> str:
        """What is drawn: `classes`, or the name of the flag that asks for another picture.

        Raises:
            InputError: several of them.
        """
        given = [name for name in _TAKES if name != CLASSES and getattr(self, name)]
        if len(given) > 1:
            flags = " and ".join(f"--{name}" for name in given)
            raise InputError(f"expected one kind of picture, got {flags}")
        return given[0] if given else CLASSES

    @property
    def to_folder(self) -> bool:
        """Whether single images are written.

        Raises:
            InputError: an ending of other pictures.
        """
        from PIL import Image

        ending = Path(self.output).suffix.lower()
        if ending != ".png" and ending in Image.registered_extensions():
            raise InputError(
                "expected --output to end in .png, or a folder for single images, got "
                f"{self.output}"
            )
        return ending != ".png"

    @property
    def seeds(self) -> range:
        """Of the columns."""
        return range(self.seed, self.seed + (self.columns or 8))

    def chosen(self, names: Sequence[str], each: int = 1) -> Sequence[str]:
        """The classes that were asked for, else of these as many as fit, with `each` rows each."""
        return self.classes or names[: max(_MOST_ROWS // each, 1)]


def _weights(entries: Sequence[str]) -> dict[str, float]:
    """{class: weight} of `<class>:<weight>` texts; a class' name may have colons."""
    found = {}
    for entry in entries:
        name, _, text = entry.rpartition(":")
        weight = _number(text, "--mix=<class>:<weight>,...", entry)
        if not name or name in found or weight < 0:
            raise InputError(
                "expected --mix=<class>:<weight>,... of different classes and weights of at least "
                f"0, got {entry!r}"
            )
        found[name] = weight
    if found and not any(found.values()):
        raise InputError(f"expected --mix with a weight above 0, got {','.join(entries)}")
    return found


def _number(text: str, flag: str, shown: str = "") -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"expected {flag} with numbers, got {shown or text!r}")
    return value
