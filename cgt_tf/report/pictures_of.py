"""Pictures of a model for its report: classes, truncation, interpolation, layers."""

import numpy as np
import tensorflow as tf
from PIL import Image

from cgt_tf.data.pipeline import to_uint8
from cgt_tf.latents import latents_from_seeds
from cgt_tf.networks.domains import Domain, assembled, domains_of
from cgt_tf.networks.extended import ExtendedGenerator
from cgt_tf.pictures import labelled_grid
from cgt_tf.report import similarity
from cgt_tf.runs.snapshots import Snapshot

_ROWS, _COLUMNS = 10, 8
_TRUNCATIONS = (0.2, 0.4, 0.6, 0.8, 1.0)
_LEAST_SIDE = 48  # Pixels; smaller images are enlarged.


def drawn(snapshot: Snapshot) -> tuple[dict[str, Image.Image], dict | None]:
    """Pictures by title, and the similarities of `similarity.of_run`.

    Args:
        snapshot: The model at a checkpoint.
    """
    extended = snapshot.extended()
    names = list(extended.class_names)
    new = list(snapshot.new_classes)[:_ROWS]
    old = [name for name in names if name not in set(snapshot.new_classes)][:_ROWS]
    draw = _Draw(extended)
    found = {"new classes": draw.classes(new)}
    if old:
        found["old classes"] = draw.classes(old)
    found["truncation 0.2 to 1"] = draw.truncations(new)
    shares = similarity.of_run(snapshot)
    if extended.mixes:
        found["between classes"] = draw.between(new)
        if shares:
            found["layer by layer, from the nearest old class"] = draw.layers(new, shares)
            found["old classes that a new one is made of"] = draw.nearest(new, shares)
    return found, shares


class _Draw:
    """Draws grids of a generator with the same few latents."""

    def __init__(self, extended: ExtendedGenerator):
        self._extended = extended
        self._names = list(extended.class_names)
        self._scale = max(1, -(-_LEAST_SIDE // extended.spec.resolution))

    def classes(self, names: list[str]) -> Image.Image:
        """A row a class."""
        labels = np.repeat([self._names.index(name) for name in names], _COLUMNS)
        return self._grid(self._images(labels, len(names)), names, _COLUMNS)

    def truncations(self, names: list[str]) -> Image.Image:
        """A row a class, a column a truncation, one seed."""
        labels = np.array([self._names.index(name) for name in names])
        seeds = tf.zeros(len(names), tf.int64)
        columns = []
        for truncation in _TRUNCATIONS:
            z = latents_from_seeds(seeds, self._extended.spec.dim_z, truncation)
            columns.append(to_uint8(self._extended(z, labels, truncation)).numpy())
        images = np.stack(columns, axis=1).reshape(-1, *columns[0].shape[1:])
        return self._grid(images, names, len(_TRUNCATIONS))

    def between(self, names: list[str]) -> Image.Image:
        """From each class to the next in the tables of classes, one seed."""
        shares = np.linspace(0, 1, _COLUMNS, dtype=np.float32)
        identity = np.eye(len(self._names), dtype=np.float32)
        weights, titles = [], []
        for first, second in zip(names, [*names[1:], names[0]], strict=True):
            a, b = (identity[self._names.index(name)] for name in (first, second))
            weights += [(1 - share) * a + share * b for share in shares]
            titles.append(f"{first} → {second}")
        z = latents_from_seeds(tf.zeros(len(weights), tf.int64), self._extended.spec.dim_z)
        images = to_uint8(self._extended(z, np.stack(weights))).numpy()
        return self._grid(images, titles, _COLUMNS)

    def layers(self, names: list[str], shares: dict) -> Image.Image:
        """The first k norms of the new class, the others of the old class nearest to it."""
        domains = domains_of(self._extended.generator, self._names)
        rows, titles, count = [], [], 0
        for name in names:
            home = next(domain for domain in domains if name in domain.class_names)
            old = shares["old"][int(np.argmax(shares["total"][shares["new"].index(name)]))]
            other = next(domain for domain in domains if old in domain.class_names)
            hybrids = _hybrids(home.of_classes([name]), other.of_classes([old]))
            count = len(hybrids)
            generator = assembled(self._extended.generator, hybrids)
            z = latents_from_seeds(tf.zeros(count, tf.int64), self._extended.spec.dim_z)
            rows.append(to_uint8(generator(z, np.arange(count))[0]).numpy())
            titles.append(f"{old} → {name}")
        return self._grid(np.concatenate(rows), titles, count)

    def nearest(self, names: list[str], shares: dict) -> Image.Image:
        """Each new class, then the old ones with the largest shares, one seed."""
        labels, titles = [], []
        for name in names:
            row = np.array(shares["total"][shares["new"].index(name)])
            best = np.argsort(-row, kind="stable")[: _COLUMNS - 1]
            labels += [self._names.index(n) for n in (name, *(shares["old"][i] for i in best))]
            titles.append(name)
        return self._grid(self._images(np.array(labels), 1), titles, len(labels) // len(names))

    def _images(self, labels: np.ndarray, rows: int) -> np.ndarray:
        """Of one seed a column, in so many rows; of one row all have the first seed."""
        count = len(labels)
        seeds = np.tile(np.arange(count // rows), rows) if rows > 1 else np.zeros(count, np.int64)
        z = latents_from_seeds(tf.constant(seeds, tf.int64), self._extended.spec.dim_z)
        return to_uint8(self._extended(z, labels)).numpy()

    def _grid(self, images: np.ndarray, titles: list[str], columns: int) -> Image.Image:
        return labelled_grid(images, titles, columns, self._scale)


def _hybrids(new: Domain, old: Domain) -> list[Domain]:
    """Domains with the new class' rows in the first k norms, k = 0, 1, ... to all of them."""
    norms = sorted({name.partition("/")[0] for name in new.rows}, key=_number)
    found = []
    for k in range(len(norms) + 1):
        first = set(norms[:k])
        rows = {n: (new if n.partition("/")[0] in first else old).rows[n] for n in new.rows}
        found.append(Domain((f"{k}",), rows, (new if k else old).shared))
    return found


def _number(name: str) -> tuple[int, str]:
    last = name.rpartition("_")[2]
    return (int(last), name) if last.isdigit() else (-1, name)
