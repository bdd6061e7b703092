"""A GAN as a directory of our own: weights by variable path, spec, class names, provenance.

spec.json            the `GanSpec`
class_names.txt      one name a line, in label order
generator.npz        arrays by variable path, e.g. block_0/conv1/kernel
discriminator.npz    the same, where there is a discriminator
provenance.json      where the weights come from
"""

import dataclasses
import json
import os
import shutil
import zipfile
import zlib
from pathlib import Path

import numpy as np
from keras import ops

from cgt_tf.errors import InputError
from cgt_tf.formats.assign import ReportLine, Rule, assign
from cgt_tf.formats.imported import Imported
from cgt_tf.networks.gan import Gan, create_discriminator, create_generator
from cgt_tf.networks.spec import GanSpec

_BUNDLED = Path(__file__).parent.parent / "assets"


def save_model(gan: Gan, directory: str | Path, provenance: dict) -> Path:
    """Writes a GAN to a new directory, all or nothing.

    Raises:
        InputError: the directory exists and is not empty.
    """
    directory = Path(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError(f"expected a new directory for the model, got {directory}")
    temporary = directory.with_name(directory.name + ".incomplete")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        _write(gan, temporary, provenance)
        if directory.exists():
            directory.rmdir()
        os.replace(temporary, directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return directory


def _write(gan: Gan, directory: Path, provenance: dict) -> None:
    (directory / "spec.json").write_text(gan.spec.to_json(), encoding="utf-8")
    names = "".join(f"{name}\n" for name in gan.class_names)
    (directory / "class_names.txt").write_text(names, encoding="utf-8")
    text = json.dumps(provenance, indent=2, ensure_ascii=False) + "\n"
    (directory / "provenance.json").write_text(text, encoding="utf-8")
    for network in filter(None, (gan.generator, gan.discriminator)):
        arrays = {_name(v): ops.convert_to_numpy(v) for v in network.variables}
        np.savez(directory / f"{network.name}.npz", **arrays)


def read_bundled(name: str, bn_eps: float | None = None, sn_eps: float | None = None) -> Imported:
    """A source that is shipped with the package; see `read_model`."""
    directory = _BUNDLED / name
    if not (directory / "spec.json").is_file():
        names = ", ".join(sorted(p.parent.name for p in _BUNDLED.glob("*/spec.json")))
        raise InputError(f"expected bundled:<name> with a name of {names}, got {name!r}")
    return read_model(directory, bn_eps, sn_eps)


def read_model(
    directory: str | Path, bn_eps: float | None = None, sn_eps: float | None = None
) -> Imported:
    """Reads `save_model`'s directory.

    Args:
        directory: as written by `save_model`.
        bn_eps, sn_eps: epsilons to use instead of the spec's.

    Raises:
        InputError: a missing or damaged file, or weights that do not fit the spec.
    """
    directory = Path(directory)
    spec = GanSpec.from_json(_read(directory / "spec.json"))
    changes = {k: v for k, v in (("bn_eps", bn_eps), ("sn_eps", sn_eps)) if v is not None}
    spec = dataclasses.replace(spec, **changes)
    names = _read(directory / "class_names.txt").splitlines()
    if len(names) != spec.num_classes:
        raise InputError(
            f"expected {spec.num_classes} class names in {directory}, got {len(names)}"
        )
    imported = Imported(spec, class_names=names)
    imported.generator = create_generator(spec, initializer="zeros")
    imported.report += _assign(imported.generator, directory / "generator.npz")
    if (directory / "discriminator.npz").exists():
        imported.discriminator = create_discriminator(spec, initializer="zeros")
        imported.report += _assign(imported.discriminator, directory / "discriminator.npz")
    try:
        imported.provenance = json.loads(_read(directory / "provenance.json"))
    except json.JSONDecodeError as error:
        raise InputError(f"expected JSON in {directory / 'provenance.json'}: {error}") from error
    return imported


def _assign(network, path: Path) -> list[ReportLine]:
    """Sets every variable from the file; all names and shapes must match both ways."""
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise ValueError("it holds one array, not an archive of named ones")
        with file:
            arrays = dict(file)
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"expected weights in {path}: {error}") from error
    rules = [Rule(name, name) for name in map(_name, network.variables)]
    return assign(network, arrays, rules, {}, str(path))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"expected a model directory with {path.name}: {error}") from error


def _name(variable) -> str:
    return variable.path.partition("/")[2]
