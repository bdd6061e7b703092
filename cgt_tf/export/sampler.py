"""Opens what a model is kept in as a sampler, and draws what `cgt-sample` is asked for."""

from collections.abc import Sequence
from pathlib import Path

from cgt_tf.drawing import layerwise, similarity
from cgt_tf.drawing.folder import MANIFEST, write_folder
from cgt_tf.drawing.pseudo_classes import pseudo_class_rows, pseudo_class_sampler
from cgt_tf.drawing.request import PictureRequest
from cgt_tf.drawing.rows import (
    Row,
    Strip,
    between,
    check_size,
    class_row,
    draw,
    mixed_row,
    picture_of,
)
from cgt_tf.drawing.sampler import GanSampler, Sampler
from cgt_tf.errors import InputError
from cgt_tf.export.served import find_saved_model, load_saved_model
from cgt_tf.runs.handles import is_handle, load_source, split_handle
from cgt_tf.runs.run_dir import RunDir
from cgt_tf.runs.snapshots import open_snapshot

_ROWS, _SCALE = 4, 2


def open_sampler(model: str, checkpoint: str) -> Sampler:
    """A SavedModel, a source by its handle, or a run's old and new classes at a checkpoint.

    Raises:
        InputError: it is none of these, or damaged.
    """
    if find_saved_model(model):
        return load_saved_model(model)
    if is_handle(model):
        kind, place = split_handle(model)
        if kind != "run":
            gan = load_source(model)
            return GanSampler(gan, gan.class_names)
        model = place
    if not RunDir(model).exists:
        raise InputError(f"expected a run, a SavedModel or a source <kind>:<place>, got {model}")
    snapshot = open_snapshot(model, checkpoint)
    return GanSampler(snapshot.gan, snapshot.new_classes, snapshot)


def drawn(request: PictureRequest) -> list[Strip]:
    """Draws the rows of a request.

    Raises:
        InputError: no such model, a class that it does not have, or a picture that it cannot give.
    """
    sampler, rows = _PLANS[request.kind](request, open_sampler(request.model, request.checkpoint))
    check_size(rows, sampler.resolution, 1 if request.to_folder else request.scale or _SCALE)
    return draw(sampler, rows)


def write(strips: Sequence[Strip], request: PictureRequest) -> str:
    """Writes what `drawn` gave as the request says; returns a line on it."""
    count = sum(len(strip.images) for strip in strips)
    if request.to_folder:
        write_folder(strips, Path(request.output))
        return f"{count} images and {MANIFEST} written to {request.output}"
    picture_of(strips, request.scale or _SCALE).save(request.output)
    return f"{count} images in {len(strips)} rows written to {request.output}"


def _classes(request: PictureRequest, sampler: Sampler) -> tuple[Sampler, list[Row]]:
    names, truncation = request.chosen(sampler.new_classes), request.truncation or 1.0
    return sampler, [class_row(sampler, name, request.seeds, truncation) for name in names]


def _interpolate(request: PictureRequest, sampler: Sampler) -> tuple[Sampler, list[Row]]:
    first, second = request.interpolate
    mixtures, title = between(first, second, len(request.seeds)), f"{first} → {second}"
    rows = [
        mixed_row(sampler, f"{title}, {seed}", mixtures, seed, request.truncation or 1.0)
        for seed in range(request.seed, request.seed + (request.rows or _ROWS))
    ]
    return sampler, rows


def _mix(request: PictureRequest, sampler: Sampler) -> tuple[Sampler, list[Row]]:
    title = " + ".join(f"{weight:g} {name}" for name, weight in request.mix.items())
    mixtures = [dict(request.mix)] * len(request.seeds)
    truncation = request.truncation or 1.0
    return sampler, [mixed_row(sampler, title, mixtures, request.seeds, truncation)]


def _truncations(request: PictureRequest, sampler: Sampler) -> tuple[Sampler, list[Row]]:
    rows = [
        class_row(sampler, name, request.seeds, truncation, f"{name} {truncation:g}")
        for name in request.chosen(sampler.new_classes, len(request.truncations))
        for truncation in request.truncations
    ]
    return sampler, rows


def _pseudo_classes(request: PictureRequest, sampler: Sampler) -> tuple[Sampler, list[Row]]:
    drawn_by = pseudo_class_sampler(_snapshot(request, sampler))
    names, truncation = request.chosen(drawn_by.class_names), request.truncation or 1.0
    return drawn_by, pseudo_class_rows(drawn_by, names, request.seeds, truncation)


def _layers(request: PictureRequest, sampler: Sampler) -> tuple[Sampler, list[Row]]:
    snapshot = _snapshot(request, sampler)
    shares = similarity.of_run(snapshot)
    if shares is None:
        raise InputError(
            "expected a run that has learnt scores of all old classes and keeps these, got "
            f"{request.model}"
        )
    names, truncation = request.chosen(sampler.new_classes), request.truncation or 1.0
    return layerwise.layer_rows(sampler, shares, names, request.seed, truncation)


def _snapshot(request: PictureRequest, sampler: Sampler):
    if sampler.snapshot is None:
        raise InputError(
            f"expected a run with --{request.kind}, as other models keep nothing of the learning, "
            f"got {request.model}"
        )
    return sampler.snapshot


_PLANS = {
    "classes": _classes,
    "interpolate": _interpolate,
    "mix": _mix,
    "truncations": _truncations,
    "pseudo_classes": _pseudo_classes,
    "layers": _layers,
}
