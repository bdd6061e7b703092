"""Class packs: learnt classes as one small file, to be added to any model of the same source.

A file of safetensors, data alone: a row of every class table for each class, the batch-norm
statistics and latent projections that these classes have in common, a picture of samples, and a
JSON text in the header on what it is.
"""

import dataclasses
import hashlib
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from PIL import Image

from cgt_tf.errors import InputError, first_few
from cgt_tf.files import replaced
from cgt_tf.networks.domains import Domain, assembled, common_weights, domains_of
from cgt_tf.networks.extended import extended_from
from cgt_tf.networks.gan import Gan

ENDING = ".cgtpack"
_FORMAT = "cgt_tf class pack 1"
_KEY, _SAMPLE = "cgt_tf", "sample_png"
_ROWS, _SHARED = "rows/", "shared/"


@dataclasses.dataclass(frozen=True, eq=False)
class Pack:
    """Classes that a run has learnt.

    Attributes:
        domain: The classes.
        fingerprint: SHA-256 of the weights that all classes of the source share.
        facts: `data`, `method`, `scores` and `licence`, as JSON.
        sample: A picture of samples, or None.
    """

    domain: Domain
    fingerprint: str
    facts: dict
    sample: Image.Image | None = None


def fingerprint(gan: Gan) -> str:
    """SHA-256 of a folded GAN's weights that do not depend on the class.

    A run, its native export and a source that it extends have the same.
    """
    digest = hashlib.sha256()
    for name, array in sorted(common_weights(_folded(gan).generator).items()):
        digest.update(f"{name} {array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def extract(gan: Gan, names: Sequence[str], facts: dict, sample: Image.Image | None) -> Pack:
    """Takes classes of one domain out of a GAN.

    Args:
        gan: Old and new classes.
        names: Names of the classes.
        facts: See `Pack`.
        sample: A picture of samples.

    Raises:
        InputError: classes that it has not, of several domains, or a GAN without class tables.
    """
    extended = _folded(gan)
    _check_names(names, gan.class_names)
    for domain in domains_of(extended.generator, extended.class_names)[::-1]:
        if set(names) <= set(domain.class_names):
            return Pack(domain.of_classes(names), fingerprint(gan), facts, sample)
    raise InputError(f"expected classes of one run, got {', '.join(names)} of several")


def add(gan: Gan, packs: Sequence[Pack]) -> Gan:
    """A GAN with the classes of packs after its own, which stay as they are, bit for bit.

    Raises:
        InputError: a pack of another source, or a class that is there already.
    """
    extended, own = _folded(gan), fingerprint(gan)
    domains = domains_of(extended.generator, extended.class_names)
    names = list(gan.class_names)
    for pack in packs:
        if pack.fingerprint != own:
            raise InputError(
                f"expected a pack of the model's source, fingerprint {own[:16]}, got "
                f"{pack.fingerprint[:16]} for {', '.join(pack.domain.class_names)}"
            )
        twice = [name for name in pack.domain.class_names if name in names]
        if twice:
            raise InputError(f"expected classes that the model does not have, got {twice[0]!r}")
        names += pack.domain.class_names
        domains.append(pack.domain)
    return _with_domains(gan, extended.generator, domains)


def remove(gan: Gan, names: Sequence[str]) -> Gan:
    """A GAN without some classes that are not the source's, which stay as they are.

    Raises:
        InputError: classes that it has not, or of its first domain, the source's.
    """
    extended = _folded(gan)
    _check_names(names, gan.class_names)
    first, *others = domains_of(extended.generator, extended.class_names)
    kept = [first]
    for domain in others:
        left = [name for name in domain.class_names if name not in names]
        kept += [domain.of_classes(left)] if left else []
    removed = len(gan.class_names) - sum(len(domain.class_names) for domain in kept)
    if removed != len(set(names)):
        own = next(name for name in names if name in first.class_names)
        raise InputError(f"expected classes that were added, got {own!r} of the source")
    return _with_domains(gan, extended.generator, kept)


def write(pack: Pack, path: Path) -> None:
    """Writes a file, all or nothing."""
    about = {
        "format": _FORMAT,
        "class_names": pack.domain.class_names,
        "fingerprint": pack.fingerprint,
        "facts": pack.facts,
    }
    arrays = {_ROWS + name: array for name, array in pack.domain.rows.items()}
    arrays |= {_SHARED + name: array for name, array in pack.domain.shared.items()}
    if pack.sample is not None:
        png = io.BytesIO()
        pack.sample.save(png, "PNG")
        arrays[_SAMPLE] = np.frombuffer(png.getvalue(), np.uint8)
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    metadata = {_KEY: json.dumps(about, ensure_ascii=False)}
    with replaced(path) as staging:
        staging.write_bytes(safetensors.numpy.save(arrays, metadata))


def read(path: Path) -> Pack:
    """Reads a file.

    Raises:
        InputError: no file, or one that is no pack or damaged.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {})[_KEY])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if about["format"] != _FORMAT:
            raise ValueError(f"its format is {about['format']!r}")
        sample = arrays.pop(_SAMPLE, None)
        domain = Domain(
            tuple(map(str, about["class_names"])),
            {n.removeprefix(_ROWS): a for n, a in arrays.items() if n.startswith(_ROWS)},
            {n.removeprefix(_SHARED): a for n, a in arrays.items() if n.startswith(_SHARED)},
        )
        _check(domain)
        picture = None if sample is None else Image.open(io.BytesIO(sample.tobytes()))
        return Pack(domain, str(about["fingerprint"]), dict(about["facts"]), picture)
    except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise InputError(f"expected a class pack, got {path}: {error}") from None


def _check(domain: Domain) -> None:
    count = len(domain.class_names)
    if not count or not domain.rows or not domain.shared:
        raise ValueError("it holds no classes")
    for name, array in {**domain.rows, **domain.shared}.items():
        if array.dtype != np.float32 or not np.isfinite(array).all():
            raise ValueError(f"{name} holds no finite float32")
    lengths = {len(array) for array in domain.rows.values()}
    if lengths != {count}:
        raise ValueError(f"it names {count} classes and has rows of {sorted(lengths)}")


def _check_names(names: Sequence[str], known: Sequence[str]) -> None:
    lacking = [name for name in names if name not in known]
    if lacking or not names:
        raise InputError(
            f"expected classes of the model's {len(known)} ({first_few(known)}), got "
            f"{lacking[0] if lacking else 'none'!r}"
        )


def _folded(gan: Gan):
    if gan.spec.wrapper != "plain":
        raise InputError(
            "expected a model whose classes are rows of tables, which can be taken out, got one "
            f"that is {gan.spec.wrapper}"
        )
    return extended_from(gan)


def _with_domains(gan: Gan, generator, domains: list[Domain]) -> Gan:
    shapes = {n: a.shape[1:] for n, a in domains[0].rows.items()}
    for domain in domains[1:]:
        found = {n: a.shape[1:] for n, a in domain.rows.items()}
        same = {n: a.shape for n, a in domain.shared.items()}
        if found != shapes or same != {n: a.shape for n, a in domains[0].shared.items()}:
            raise InputError("expected a pack with the model's tables, got arrays of other shapes")
    new = assembled(generator, domains)
    names = [name for domain in domains for name in domain.class_names]
    spec = dataclasses.replace(new.spec, d_classes=gan.spec.d_classes)
    if gan.discriminator is not None and not gan.spec.d_classes:
        spec = dataclasses.replace(spec, d_classes=gan.spec.num_classes)
    return Gan(spec, new, gan.discriminator, names)
