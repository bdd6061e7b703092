"""What a classifier of cgt-features is worth: kept in its own file, shown beside every score."""

import dataclasses
import json
import zipfile
from pathlib import Path

from cgt_tf.errors import InputError

_MEMBER = "classifier.json"
_MOST_BYTES = 1 << 20
# Accuracies below this share of the way from guessing to perfect warn.
_NEAR_CHANCE = 0.25


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifierFacts:
    """How a classifier does on images that it was not trained on.

    Attributes:
        class_names: Class names of its logits, in order.
        accuracy: Top-1 on held-out images, in [0, 1].
        heldout_images: How many.
        epochs: Epochs that it was trained for.
        data: Names of the training images.
    """

    class_names: tuple[str, ...]
    accuracy: float
    heldout_images: int
    epochs: int
    data: str

    @property
    def chance(self) -> float:
        """Accuracy of guessing."""
        return 1 / len(self.class_names)

    def warning(self) -> str | None:
        """One line where the classifier hardly tells its classes apart, else None."""
        if self.accuracy >= self.chance + _NEAR_CHANCE * (1 - self.chance):
            return None
        return (
            f"the feature network names {self.accuracy:.0%} of {self.heldout_images} held-out "
            f"images correctly, guessing {self.chance:.0%}: its scores mean little; train it for "
            f"{self.epochs} epochs more (cgt-features --epochs={2 * self.epochs}), or on more "
            "images"
        )


def add_facts(path: Path, facts: ClassifierFacts) -> None:
    """Puts the facts into a `.keras` file, beside the members that Keras reads."""
    with zipfile.ZipFile(path, "a") as archive:
        text = json.dumps(dataclasses.asdict(facts), ensure_ascii=False)
        # A date of its own would change the file's hash with every training.
        archive.writestr(zipfile.ZipInfo(_MEMBER), text)


def read_facts(path: Path) -> ClassifierFacts | None:
    """The facts in a `.keras` file; None where it was not made by cgt-features.

    Raises:
        InputError: they are damaged.
    """
    with zipfile.ZipFile(path) as archive:
        if _MEMBER not in archive.namelist():
            return None
        size = archive.getinfo(_MEMBER).file_size
        if size > _MOST_BYTES:
            raise InputError(f"expected at most {_MOST_BYTES} bytes of {_MEMBER}, got {size}")
        text = archive.read(_MEMBER)
    return _checked(text, path)


def _checked(text: bytes, path: Path) -> ClassifierFacts:
    wrong = f"expected {_MEMBER} of cgt-features in {path}, got"
    try:
        values = json.loads(text)
        names = values["class_names"]
        facts = ClassifierFacts(
            class_names=tuple(str(name) for name in names),
            accuracy=float(values["accuracy"]),
            heldout_images=int(values["heldout_images"]),
            epochs=int(values["epochs"]),
            data=str(values["data"]),
        )
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise InputError(f"{wrong} a damaged one: {error}") from None
    if not isinstance(names, list) or not names or not 0 <= facts.accuracy <= 1:
        raise InputError(f"{wrong} {len(names)} classes, accuracy {facts.accuracy}")
    return facts
