"""Exports a run: as a SavedModel, as one file of another runtime, or in this package's own form."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from cgt_tf.errors import InputError
from cgt_tf.export import card, one_file, saved_model, warm_up
from cgt_tf.export.native import export_native
from cgt_tf.export.stored import PRECISIONS
from cgt_tf.methods.registry import config_from_dict, create_method
from cgt_tf.runs import facts
from cgt_tf.runs.snapshots import Snapshot, open_snapshot

FORMATS = ("saved_model", "native", *one_file.FORMS)


@dataclasses.dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: Directory of the SavedModel's version, or of the model in another form.
        notes: Lines on what one may not expect.
    """

    path: Path
    notes: tuple[str, ...]


def export_run(
    workdir: str,
    output: str,
    *,
    checkpoint: str = "best",
    form: str = "saved_model",
    precision: str = "float32",
    licence: dict[str, str] | None = None,
    nearest: Callable[[Snapshot], card.Nearest] | None = None,
) -> Exported:
    """Writes a run's old and new classes at a checkpoint as one model.

    Args:
        workdir: Directory of the run.
        output: Base directory of a served model, which gets its next version; or the new directory
            of a model in another form.
        checkpoint: `best`, `last` or a step.
        form: `saved_model`, `native`, `tflite` or `onnx`.
        precision: Of a SavedModel or native: float16, or bfloat16 of a SavedModel, weights stored
            in half the bytes.
        licence: Licences of `weights` and `data`, for the model card.
        nearest: Makes the card's picture of the nearest training images.

    Raises:
        InputError: no such checkpoint, a precision that the form does not have, or what a form of
            `one_file` refuses.
    """
    if form not in FORMATS:
        raise InputError(f"expected a form out of {', '.join(FORMATS)}, got {form!r}")
    _check_precision(form, precision)
    if form in one_file.FORMS:
        one_file.check_form(form, output)
    snapshot = open_snapshot(workdir, checkpoint)
    licence = {"weights": card.UNKNOWN, "data": card.UNKNOWN, **(licence or {})}
    told = {**facts.of_export(snapshot), "licence": licence}
    if nearest is not None:
        told["nearest"] = nearest(snapshot)
    classes = f"checkpoint of step {snapshot.step}, {len(snapshot.gan.class_names)} classes"
    if form == "native":
        path = export_native(snapshot.gan, output, snapshot.provenance, precision, told)
        use = f"use it with --config.source=model:{path}"
        notes = [f"{classes}, written to {path}: {use}"]
        return Exported(path, (*_precision_notes(path, precision), *notes))
    extended = snapshot.extended()
    if form in one_file.FORMS:
        path = one_file.export_one_file(extended, output, form, told)
        moved = card.read_weights(path).largest_difference
        notes = [
            f"{one_file.SAMPLES} images are at most {moved:.2g} of 255 grey levels off the "
            "SavedModel's"
        ]
    else:
        path = saved_model.export_saved_model(extended, output, precision=precision, told=told)
        notes = _precision_notes(path, precision)
        if not (path / warm_up.FILE).exists():
            needed = "pip install 'cgt_tf[serving]'"
            notes.append(f"no warm-up requests for a server: they need {needed}")
    method = create_method(config_from_dict(snapshot.run.config()))
    if method.needs_source and not method.keeps_old_classes:
        notes.append("the new classes only: this run has changed what the old ones need")
    return Exported(path, (*notes, f"{classes}, written to {path}"))


def _check_precision(form: str, precision: str) -> None:
    narrow = {"saved_model": ("float16", "bfloat16"), "native": ("float16",)}
    if precision == "float32" or precision in narrow.get(form, ()):
        return
    forms = [name for name, precisions in narrow.items() if precision in precisions]
    if not forms:
        raise InputError(f"expected a precision of {', '.join(PRECISIONS)}, got {precision!r}")
    raise InputError(f"--precision={precision} needs --format={' or '.join(forms)}, got {form}")


def _precision_notes(path: Path, precision: str) -> list[str]:
    return [] if precision == "float32" else [card.read_weights(path).note]
