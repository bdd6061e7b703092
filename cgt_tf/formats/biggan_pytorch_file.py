"""Reading a `.pth` file as data: named tensors, and nothing that runs."""

import pickle
import re
import struct
import zipfile
from pathlib import Path

import numpy as np

from cgt_tf.errors import InputError

# What torch's unpickler raises on files that are cut short or damaged, besides its own errors.
_DAMAGED = (
    *(OSError, EOFError, RuntimeError, ValueError, KeyError, IndexError, AttributeError),
    *(TypeError, AssertionError, OverflowError, struct.error, zipfile.BadZipFile),
)
_WHERE = "BigGAN-PyTorch keeps weights in G_ema.pth, G.pth and D.pth"
# The first bytes of torch's two formats: a zip archive, and pickles one after the other.
_MAGIC = (b"PK\x03\x04", b"\x80\x02")


def import_torch():
    """The torch module.

    Raises:
        InputError: it is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise InputError("expected PyTorch for .pth files: pip install 'cgt_tf[torch]'") from error
    return torch


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a file of weights by name, in the file's order, without a `module.` prefix.

    Args:
        path: As `torch.save(network.state_dict(), path)` writes it, in either of torch's formats.

    Returns:
        Arrays in the file's layout; half-precision numbers come as float32.

    Raises:
        InputError: no such file, one that is damaged, that is not data alone (nothing of it is
            run), or that does not hold named tensors.
    """
    found = _load(Path(path))
    _check_tensors(found, path)
    tensors = {
        name: (tensor.float() if tensor.is_floating_point() else tensor).detach().numpy()
        for name, tensor in found.items()
    }
    prefix = "module."
    if all(name.startswith(prefix) for name in tensors):
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _load(path: Path):
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise InputError(f"expected a .pth file: {error}") from error
    if not start.startswith(_MAGIC):
        raise InputError(f"expected a .pth file at {path}, got one that starts with {start!r}")
    torch = import_torch()
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(f"expected tensors alone in {path}, {_unpickling(error)}") from error
    except _DAMAGED as error:
        raise InputError(f"expected a whole .pth file at {path}: {_line(error)}") from error


def _unpickling(error: pickle.UnpicklingError) -> str:
    """One line of torch's many: what the pickle asked for."""
    names = re.search(r"GLOBAL (\S+)", str(error))
    if names:
        return f"got a pickle that calls {names[1]}, which was not run; {_WHERE}"
    reason = str(error).rpartition("WeightsUnpickler error:")[2]
    return f"got a pickle that is damaged or not data: {_line(reason)}"


def _line(error) -> str:
    """The first sentence of a message."""
    lines = str(error).strip().splitlines()
    return lines[0].partition(". ")[0][:200] if lines else type(error).__name__


def _check_tensors(found, path) -> None:
    torch = import_torch()
    if not isinstance(found, dict) or not found:
        kind = "an empty dict" if isinstance(found, dict) else f"one {type(found).__name__}"
        raise InputError(f"expected tensors by name in {path}, got {kind}; {_WHERE}")
    if {"state", "param_groups"} <= found.keys():
        raise InputError(f"expected a network in {path}, got an optimiser's state; {_WHERE}")
    if {"itr", "config"} <= found.keys():
        raise InputError(f"expected a network in {path}, got a run's configuration; {_WHERE}")
    for name, tensor in found.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise InputError(
                f"expected tensors by name in {path}, got {type(tensor).__name__} at {name!r:.80}; "
                f"{_WHERE}"
            )
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not plain or tensor.is_quantized or tensor.is_complex():
            raise InputError(
                f"expected plain tensors in {path}, got {tensor.layout} {tensor.dtype} on "
                f"{tensor.device} at {name!r:.80}"
            )
