"""Pictures of a model for its report: classes, truncation, interpolation, layers."""

from collections.abc import Sequence

from PIL import Image

from cgt_tf.drawing import layerwise, similarity
from cgt_tf.drawing.rows import (
    Row,
    between,
    class_row,
    create_row,
    draw,
    mixed_row,
    picture_of,
)
from cgt_tf.drawing.sampler import GanSampler, Sampler, labels_of
from cgt_tf.runs.snapshots import Snapshot

_ROWS, _COLUMNS = 10, 8
_TRUNCATIONS = (0.2, 0.4, 0.6, 0.8, 1.0)
_LEAST_SIDE = 48  # Pixels; smaller images are enlarged.


def drawn(snapshot: Snapshot) -> tuple[dict[str, Image.Image], dict | None]:
    """Pictures by title, and the similarities of `similarity.of_run`.

    Args:
        snapshot: The model at a checkpoint.
    """
    sampler = GanSampler(snapshot.gan, snapshot.new_classes)
    new = list(snapshot.new_classes)[:_ROWS]
    old = [name for name in sampler.class_names if name not in set(snapshot.new_classes)][:_ROWS]
    found = {"new classes": _classes(sampler, new)}
    if old:
        found["old classes"] = _classes(sampler, old)
    rows = [class_row(sampler, name, 0, _TRUNCATIONS) for name in new]
    found["truncation 0.2 to 1"] = _picture(sampler, rows)
    shares = similarity.of_run(snapshot)
    if sampler.extended.mixes:
        rows = [
            mixed_row(sampler, f"{first} → {second}", between(first, second, _COLUMNS), 0)
            for first, second in zip(new, [*new[1:], new[0]], strict=True)
            if first != second
        ]
        found |= {"between classes": _picture(sampler, rows)} if rows else {}
        if shares:
            layers = layerwise.layer_rows(sampler, shares, new, 0)
            found["layer by layer, from the nearest old class"] = _picture(*layers)
            rows = [_nearest_row(sampler, name, shares) for name in new]
            found["old classes that a new one is made of"] = _picture(sampler, rows)
    return found, shares


def _classes(sampler: Sampler, names: Sequence[str]) -> Image.Image:
    return _picture(sampler, [class_row(sampler, name, range(_COLUMNS)) for name in names])


def _nearest_row(sampler: Sampler, name: str, shares: dict) -> Row:
    """A new class, then the old ones with the largest shares, one seed."""
    names = [name, *similarity.nearest(shares, name)[: _COLUMNS - 1]]
    told = [{"class": each} for each in names]
    return create_row(name, labels_of(sampler, names), 0, 1.0, told)


def _picture(sampler: Sampler, rows: Sequence[Row]) -> Image.Image:
    return picture_of(draw(sampler, rows), max(1, -(-_LEAST_SIDE // sampler.resolution)))
