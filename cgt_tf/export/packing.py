"""Class packs of runs, and models that they are added to or removed from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cgt_tf.drawing.rows import sample_grid
from cgt_tf.drawing.sampler import GanSampler
from cgt_tf.errors import InputError
from cgt_tf.export.native import export_native
from cgt_tf.export.saved_model import export_saved_model
from cgt_tf.formats import packs
from cgt_tf.methods.registry import config_from_dict, create_method
from cgt_tf.networks.domains import domains_of
from cgt_tf.networks.extended import extended_from
from cgt_tf.networks.gan import Gan
from cgt_tf.runs import facts
from cgt_tf.runs.handles import load_source
from cgt_tf.runs.snapshots import open_snapshot

_COLUMNS = 8
_FORMS = ("native", "saved_model")


def extract(
    workdir: str, names: Sequence[str], output: Path, licence: str, checkpoint: str = "best"
) -> packs.Pack:
    """Writes classes that a run has learnt as a pack.

    Args:
        workdir: Directory of the run.
        names: Names of the classes; none: all that it has learnt.
        output: File to write.
        licence: Licence of the classes' weights, "unknown" where nobody said.
        checkpoint: `best`, `last` or a step.

    Raises:
        InputError: a run whose classes are not rows of tables alone, or other classes.
    """
    snapshot = open_snapshot(workdir, checkpoint)
    method = create_method(config_from_dict(snapshot.run.config()))
    if not method.keeps_old_classes:
        raise InputError(
            "expected a run that keeps the old classes, whose new ones are rows of tables alone; a "
            f"run of {method.config.method.name} changes what all classes share"
        )
    names = list(names or snapshot.new_classes)
    picture = sample_grid(GanSampler(snapshot.gan, names), names, range(_COLUMNS), 1.0, 1)
    told = {**facts.of_export(snapshot), "licence": licence}
    pack = packs.extract(snapshot.gan, names, told, picture)
    packs.write(pack, output)
    return pack


def add(model: str, files: Sequence[Path], output: str, form: str) -> Path:
    """Writes a model with the classes of packs after its own; returns where.

    Args:
        model: Handle, such as `model:<dir>`, `run:<dir>` or `bundled:<name>`.
        files: The packs.
        output: Base directory of a served model, or the new directory of a native one.
        form: `saved_model` or `native`.

    Raises:
        InputError: see `formats.packs.add`.
    """
    found = [packs.read(file) for file in files]
    told = [pack.facts for pack in found]
    return _write(packs.add(_open(model), found), output, form, {"packs": told})


def remove(model: str, names: Sequence[str], output: str, form: str) -> Path:
    """Writes a model without some of the classes that were added; see `add`."""
    return _write(packs.remove(_open(model), names), output, form, {})


def described(model: str) -> list[str]:
    """Lines on the classes of a model: the source's own, and those that were added."""
    gan = _open(model)
    lines = [f"source fingerprint {packs.fingerprint(gan)[:16]}"]
    extended = extended_from(gan)
    for i, domain in enumerate(domains_of(extended.generator, extended.class_names)):
        kind = "added" if i else "of the source"
        lines.append(f"{len(domain.class_names)} {kind}: {', '.join(domain.class_names)}")
    return lines


def described_pack(file: Path) -> list[str]:
    """Lines on a pack."""
    pack = packs.read(file)
    size = sum(array.nbytes for array in pack.domain.rows.values())
    scores = pack.facts.get("scores", {}).get("metrics", {})
    return [
        f"{len(pack.domain.class_names)} classes: {', '.join(pack.domain.class_names)}",
        f"of a source with the fingerprint {pack.fingerprint[:16]}",
        f"{size // len(pack.domain.class_names):,} bytes a class, licence {pack.facts['licence']}",
        *(f"{name} {value:.4g}" for name, value in scores.items()),
    ]


def _open(model: str) -> Gan:
    return load_source(model)


def _write(gan: Gan, output: str, form: str, data: dict[str, Any]) -> Path:
    if form not in _FORMS:
        raise InputError(f"expected a form out of {', '.join(_FORMS)}, got {form!r}")
    told = {"data": data} if data else {}
    if form == "native":
        provenance = {"class_names": list(gan.class_names), **data}
        return export_native(gan, output, provenance, "float32", told)
    return export_saved_model(extended_from(gan), output, told=told)
