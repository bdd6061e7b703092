"""What TensorBoard shows of a run: scalars in groups, samples, the config as text and hparams."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from cgt_tf.config import CHANGEABLE, Config, to_dict
from cgt_tf.knobs import flattened

# Knobs that a resumed run may change, but whose values make a difference.
_DECIDING = ("training.steps",)


class Board:
    """Writes the events of a run.

    Args:
        directory: Directory of its event files; each board writes one of its own.
    """

    def __init__(self, directory: Path):
        self._writer = tf.summary.create_file_writer(str(directory))

    def close(self) -> None:
        """Writes what is left; nothing can be added any more."""
        self._writer.close()

    def scalars(self, group: str, values: Mapping[str, Any], step: int) -> None:
        """Numbers at a step, as `<group>/<name>`; a group is one section of the page."""
        with self._writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(f"{group}/{name}", value)

    def picture(self, name: str, picture: Any, step: int) -> None:
        """A picture of PIL at a step."""
        with self._writer.as_default(step=step):
            tf.summary.image(name, np.asarray(picture)[None])

    def config(self, config: Config, run: str, step: int) -> None:
        """All knobs as a table, and those that decide what comes out of a run as its hparams.

        Args:
            config: Of the run.
            run: Its name, which tells trials apart.
            step: Step from which on the config counts.
        """
        values = {name: _plain(value) for name, value in flattened(to_dict(config)).items()}
        rows = "\n".join(f"| {name} | {value} |" for name, value in values.items())
        deciding = {
            name: value
            for name, value in values.items()
            if name in _DECIDING or not name.startswith(CHANGEABLE)
        }
        with self._writer.as_default(step=step):
            tf.summary.text("config", f"| knob | value |\n| --- | --- |\n{rows}")
            hparams.hparams(deciding, trial_id=run)


def _plain(value: Any) -> bool | int | float | str:
    """A knob's value as TensorBoard takes it: lists as their flags are written."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value
