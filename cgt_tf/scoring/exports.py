"""Exports of runs with what scoring can say: nearest training images, and FIDs in fewer bits."""

import dataclasses
import re
from pathlib import Path
from typing import Any

from cgt_tf.errors import InputError
from cgt_tf.export import of_run
from cgt_tf.export.card import Nearest
from cgt_tf.export.of_run import Exported
from cgt_tf.export.served import load_saved_model
from cgt_tf.runs.facts import public
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.runs.snapshots import Snapshot
from cgt_tf.scoring.request import Request
from cgt_tf.scoring.score import score, score_export

_LEAST_SAMPLES, _SAMPLES_A_CLASS = 256, 4


def export_run(workdir: str, output: str, *, nearest: bool = True, **options: Any) -> Exported:
    """As `export.of_run.export_run`, with the card's picture of the nearest training images.

    Args:
        workdir, output: See there.
        nearest: Whether the picture is made, which takes the features of all training images.
        options: See there.

    Raises:
        InputError: see there. Training images that are gone are none: the card says so.
    """
    picture = nearest_images if nearest else _not_asked_for
    exported = of_run.export_run(workdir, output, nearest=picture, **options)
    narrow = options.get("precision", "float32") != "float32"
    if not narrow or options.get("form", "saved_model") != "saved_model":
        return exported
    line = fid_line(workdir, options.get("checkpoint", "best"), exported.path)
    return dataclasses.replace(exported, notes=(*exported.notes, line))


def nearest_images(snapshot: Snapshot) -> Nearest:
    """Samples of a run's new classes that are nearest to its training images, beside these.

    Of 256 untruncated samples or four a class, by the feature network of the run's scores.
    """
    count = max(_LEAST_SAMPLES, _SAMPLES_A_CLASS * len(snapshot.new_classes))
    request = Request.of(
        workdir=str(snapshot.run.path),
        checkpoint=str(snapshot.step),
        protocol="run",
        metrics=("nearest",),
        num_samples=count,
        labels="uniform",
        truncation=1.0,
        standing_batches=0,
    )
    try:
        scores, _ = score(request)
    except InputError as error:
        return Nearest.skipped(_without_paths(str(error)))
    names = ("nearest", "nearest_of_heldout", "nearer_than_heldout")
    facts = {
        "generated_images": scores.num_fake,
        "features": public(scores.features.name),
        **{name: scores.metrics[name] for name in names if name in scores.metrics},
    }
    return Nearest(scores.picture, facts)


def _not_asked_for(snapshot: Snapshot) -> Nearest:
    del snapshot
    return Nearest.skipped("it was not asked for")


def _without_paths(text: str) -> str:
    """A message in which of each absolute path only the last part is left."""
    return re.sub(r"(?<![\w./])/(?:[^\s/'\",]+/)*([^\s/'\",]+)", r"\1", text)


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
    return f"FID of {count} images: {before:.6g} in float32, {after:.6g} as stored"
