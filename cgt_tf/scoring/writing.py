"""Writes scores: eval.json, the picture beside it, scalars for TensorBoard."""

import json
from pathlib import Path

import tensorflow as tf

from cgt_tf.files import write_atomically
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.scoring.scores import Scores

_PICTURE = "nearest.png"


def write(scores: Scores, output: Path | None, run: RunDir | None = None) -> list[Path]:
    """Writes eval.json, the picture beside it, and TensorBoard scalars of a run.

    Args:
        scores: What to write.
        output: The JSON file; None is `eval.json` of the run, and nothing without a run.
        run: Its events get the scalars `evaluation/<protocol>/<name>`.

    Returns:
        The files written.
    """
    written = []
    if run is not None:
        output = output or run.path / "eval.json"
        writer = tf.summary.create_file_writer(str(run.events))
        protocol = scores.protocol.name
        with writer.as_default(step=scores.checkpoint_step):
            for name, value in scores.metrics.items():
                tf.summary.scalar(f"evaluation/{protocol}/{name}", value)
        writer.close()
    if output is None:
        return written
    if scores.picture is not None:
        picture = output.with_name(_PICTURE)
        scores.picture.save(picture)
        written.append(picture)
    text = json.dumps(scores.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(output, text + "\n")
    return [output, *written]
