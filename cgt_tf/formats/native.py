"""A GAN as a directory of our own: weights by variable path, spec, class names, provenance.

spec.json            the `GanSpec`
class_names.txt      one name a line, in label order
generator.npz        arrays by variable path, e.g. block_0/conv1/kernel; float32, or matrices and
                     kernels in float16, which are read as float32
discriminator.npz    the same, where there is a discriminator
provenance.json      where the weights come from
"""

import dataclasses
import json
import math
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from keras import ops

from cgt_tf.errors import InputError
from cgt_tf.files import staged_directory
from cgt_tf.formats.assign import ReportLine, Rule, assign
from cgt_tf.formats.imported import Imported
from cgt_tf.networks.fold import STATISTICS
from cgt_tf.networks.gan import Gan, create_discriminator, create_generator
from cgt_tf.networks.spec import GanSpec
from cgt_tf.networks.weights import by_name

_BUNDLED = Path(__file__).parent.parent / "assets"


def save_model(
    gan: Gan, directory: str | Path, provenance: dict, precision: str = "float32"
) -> Path:
    """Writes a GAN to a new directory, all or nothing.

    Args:
        gan: To write.
        directory: New, or empty.
        provenance: JSON of where the weights come from.
        precision: float32; or float16, half the size: of kernels and tables. Statistics span more
            magnitudes than float16 has.

    Raises:
        InputError: the directory exists and is not empty, or a weight is not finite, also where
            float16 does not reach as far.
    """
    directory = Path(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError(f"expected a new directory for the model, got {directory}")
    arrays = {
        network.name: _stored(network, precision, f"of {directory.name}, {network.name} ")
        for network in filter(None, (gan.generator, gan.discriminator))
    }
    with staged_directory(directory) as staging:
        _write(gan, arrays, provenance, staging)
    return directory


def _write(gan: Gan, arrays: dict[str, dict], provenance: dict, directory: Path) -> None:
    (directory / "spec.json").write_text(gan.spec.to_json(), encoding="utf-8")
    names = "".join(f"{name}\n" for name in gan.class_names)
    (directory / "class_names.txt").write_text(names, encoding="utf-8")
    text = json.dumps(provenance, indent=2, ensure_ascii=False) + "\n"
    (directory / "provenance.json").write_text(text, encoding="utf-8")
    for name, values in arrays.items():
        np.savez(directory / f"{name}.npz", **values)


def _stored(network, precision: str, where: str) -> dict[str, np.ndarray]:
    """Arrays by name, as they are written; all are finite."""
    arrays = {name: ops.convert_to_numpy(v) for name, v in by_name(network).items()}
    for name, array in arrays.items():
        if array.dtype == np.float32 and array.ndim >= 2 and not name.endswith(STATISTICS):
            with np.errstate(over="ignore"):  # What does not fit is infinite, which is refused.
                arrays[name] = array.astype(precision)
    _check_finite(arrays, where)
    return arrays


def read_bundled(name: str, bn_eps: float | None = None, sn_eps: float | None = None) -> Imported:
    """A source that is shipped with the package; see `read_model`."""
    names = sorted(path.parent.name for path in _BUNDLED.glob("*/spec.json"))
    if name not in names:
        raise InputError(f"expected bundled:<name> with a name of {', '.join(names)}, got {name!r}")
    return read_model(_BUNDLED / name, bn_eps, sn_eps)


def read_model(
    directory: str | Path, bn_eps: float | None = None, sn_eps: float | None = None
) -> Imported:
    """Reads `save_model`'s directory.

    Args:
        directory: As written by `save_model`.
        bn_eps, sn_eps: Epsilons to use instead of the spec's.

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
    # The joiner of emoji is not printable by itself.
    if not all(name.replace("\u200d", "").isprintable() for name in names):
        raise InputError(f"expected printable class names in {directory / 'class_names.txt'}")
    imported = Imported(spec, class_names=names)
    imported.generator = create_generator(spec, initializer="zeros")
    imported.report += _assign(imported.generator, directory / "generator.npz")
    if (directory / "discriminator.npz").exists():
        imported.discriminator = create_discriminator(spec, initializer="zeros")
        imported.report += _assign(imported.discriminator, directory / "discriminator.npz")
    try:
        imported.provenance = json.loads(_read(directory / "provenance.json"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"expected JSON in {directory / 'provenance.json'}: {error}") from error
    return imported


def _assign(network, path: Path) -> list[ReportLine]:
    """Sets every variable from the file; all names and shapes must match both ways."""
    _check_inside(path)
    try:
        _check_sizes(network, path)
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise ValueError("it holds one array, not an archive of named ones")
        with file:
            arrays = dict(file)
    except (
        *(OSError, EOFError, ValueError, RuntimeError, NotImplementedError, MemoryError),
        *(zipfile.BadZipFile, zlib.error, struct.error, SyntaxError, OverflowError),
    ) as error:
        raise InputError(f"expected weights in {path}: {error}") from error
    _check_finite(arrays, f"in {path}, ")
    rules = [Rule(name, name) for name in by_name(network)]
    return assign(network, arrays, rules, {}, str(path))


def _check_finite(arrays: dict[str, np.ndarray], where: str) -> None:
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"expected finite values {where}{name} has others")


def _check_sizes(network, path: Path) -> None:
    """`ValueError` for an archive that would take much more memory than the network's weights."""
    expected = sum(4 * math.prod(variable.shape) for variable in network.variables)
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
        # A header may promise more than the entry holds, and memory is taken for what it promises.
        for entry in archive.infolist():
            with archive.open(entry) as file:
                version = np.lib.format.read_magic(file)
                read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
                    version, np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = read(file)
            if math.prod(shape) * dtype.itemsize > entry.file_size:
                raise ValueError(f"{entry.filename} holds less than its header says")
    if unpacked > 4 * expected + (1 << 20):
        raise ValueError(f"it unpacks to {unpacked:,} bytes, expected about {expected:,}")


def _check_inside(path: Path) -> None:
    """`InputError` for a link that leads out of the model's directory."""
    if path.exists() and not path.resolve().is_relative_to(path.parent.resolve()):
        raise InputError(f"expected a file inside the model directory, got a link: {path}")


def _read(path: Path) -> str:
    _check_inside(path)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"expected a model directory with {path.name}: {error}") from error
