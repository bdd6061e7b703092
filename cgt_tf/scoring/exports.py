"""What storing a run's SavedModel in fewer bits does to its FID."""

from pathlib import Path

from cgt_tf.errors import InputError
from cgt_tf.export.served import load_saved_model
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.scoring.request import Request
from cgt_tf.scoring.score import score_export


def fid_line(workdir: str, checkpoint: str, export: Path) -> str:
    """One line with the FIDs of a run and of its export, or on why there are none.

    Both are of the same latents and labels, untruncated, with the batch-norm statistics that the
    export has; all else is as the run's protocol says.

    Args:
        workdir: Directory of the run.
        checkpoint: That was exported: `best`, `last` or a step.
        export: Directory of the SavedModel's version, which is whole whatever this finds.
    """
    if not RunDir(workdir).scores():
        return "FID not measured: this run was not scored while it trained"
    request = Request.of(
        workdir=workdir,
        checkpoint=checkpoint,
        metrics=("fid",),
        truncation=1.0,
        standing_batches=0,
    )
    try:
        scores = score_export(request, load_saved_model(export))
    except InputError as error:
        return f"FID not measured: {error}"
    before, after = (each.metrics["fid"] for each in scores)
    count = scores[0].num_fake
    return f"FID of {count} images: {before:.4f} in float32, {after:.4f} as stored"
