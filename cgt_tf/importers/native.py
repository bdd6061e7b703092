"""A GAN as a directory of our own: weights by variable path, spec, class names, provenance.

spec.json            the `GanSpec`
class_names.txt      one name a line, in label order
generator.npz        arrays by variable path, e.g. block_0/conv1/kernel
discriminator.npz    the same, where there is a discriminator
provenance.json      where the weights come from
"""

import json
import os
import shutil
import zipfile
import zlib
from pathlib import Path

import numpy as np
from keras import ops

from cgt_tf.errors import InputError
from cgt_tf.models.biggan import Discriminator, Generator
from cgt_tf.models.gan import Gan, build_networks
from cgt_tf.models.spec import GanSpec


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
        np.savez_compressed(directory / f"{network.name}.npz", **arrays)


def load_model(
    directory: str | Path, bn_eps: float | None = None, sn_eps: float | None = None
) -> Gan:
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
    if changes:
        spec = GanSpec(**{**spec.__dict__, **changes})
    class_names = _read(directory / "class_names.txt").splitlines()
    generator = Generator(spec)
    discriminator = Discriminator(spec) if (directory / "discriminator.npz").exists() else None
    for network in filter(None, (generator, discriminator)):
        build_networks(network)
        _assign(network, directory / f"{network.name}.npz")
    return Gan(spec, generator, discriminator, class_names)


def _assign(network, path: Path) -> None:
    """Sets every variable from the file; all names and shapes must match both ways."""
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise ValueError("it holds one array, not an archive of named ones")
        with file:
            arrays = dict(file)
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"expected weights in {path}: {error}") from error
    variables = {_name(v): v for v in network.variables}
    if arrays.keys() != variables.keys():
        missing, extra = sorted(variables.keys() - arrays), sorted(arrays.keys() - variables)
        raise InputError(
            f"{path} does not fit its spec: missing {missing[:3]}, unknown {extra[:3]}"
        )
    for name, variable in variables.items():
        if arrays[name].shape != tuple(variable.shape):
            raise InputError(
                f"expected {name} of shape {tuple(variable.shape)} in {path}, "
                f"got {arrays[name].shape}"
            )
    for name, variable in variables.items():
        variable.assign(arrays[name])


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"expected a model directory with {path.name}: {error}") from error


def _name(variable) -> str:
    return variable.path.partition("/")[2]
