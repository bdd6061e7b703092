"""Writes scores: eval.json, the picture beside it, scalars for TensorBoard."""

import json
from pathlib import Path

from cgt_tf.files import write_atomically
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.scoring.scores import Scores
from cgt_tf.training.board import Board

_PICTURE = "nearest.png"


def write(scores: Scores, output: Path | None, run: RunDir | None = None) -> list[Path]:
    """Writes eval.json, the picture beside it, and TensorBoard scalars of a run.

    Args:
        scores: What to write.
        output: The JSON file; None is `eval.json` of the run, and nothing without a run.
        run: Its events get the scalars `score/<protocol>/<name>`.

    Returns:
        The files written.
    """
    written = []
    if run is not None:
        output = output or run.path / "eval.json"
        board = Board(run.events)
        group = f"score/{scores.protocol.name}"
        board.scalars(group, scores.metrics, scores.checkpoint_step)
        board.close()
    if output is None:
        return written
    if scores.picture is not None:
        picture = output.with_name(_PICTURE)
        scores.picture.save(picture)
        written.append(picture)
    text = json.dumps(scores.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(output, text + "\n")
    return [output, *written]
