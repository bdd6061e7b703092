"""Handles of source GANs and what reads each kind."""

import dataclasses

from cgt_tf.errors import InputError
from cgt_tf.formats import biggan_pytorch, native, tfhub
from cgt_tf.formats.imported import Imported
from cgt_tf.networks.gan import Gan
from cgt_tf.runs import snapshots

_READERS = {
    "bundled": native.read_bundled,
    "model": native.read_model,
    "pth": biggan_pytorch.read_pth,
    "run": snapshots.read_run,
    "tfhub": tfhub.read_tfhub,
}
_FORMS = "bundled:<name>, tfhub:<handle or dir>, pth:<file>, model:<dir> or run:<dir>"


def load_source(
    handle: str,
    discriminator: str | None = None,
    bn_eps: float | None = None,
    sn_eps: float | None = None,
) -> Gan:
    """Opens a source GAN.

    Args:
        handle: One of
            `bundled:<name>`: shipped with the package (`glyphs32`);
            `tfhub:<handle or dir>`: DeepMind's BigGAN or BigGAN-deep on TF-Hub, a generator only;
            `pth:<file>`: a generator's weights as BigGAN-PyTorch saves them (`G_ema.pth`, `G.pth`);
            `model:<dir>`: written by `cgt-import` or `cgt-export --format=native`;
            `run:<dir>`: a run of `cgt-train`, its best checkpoint's EMA.
        discriminator: Handle to take the discriminator from instead, e.g. `pth:D.pth`.
        bn_eps, sn_eps: Epsilons to use instead of the source's own. A `.pth` file does not say
            which it was trained with; the published settings are assumed.

    Raises:
        InputError: an unknown handle, missing or damaged files, or a discriminator of another
            resolution or number of classes.
    """
    return to_gan(read_source(handle, discriminator=discriminator, bn_eps=bn_eps, sn_eps=sn_eps))


def read_source(
    handle: str,
    *,
    discriminator: str | None = None,
    weights: str = "ema",
    bn_eps: float | None = None,
    sn_eps: float | None = None,
) -> Imported:
    """As `load_source`, with report and notes.

    Args:
        handle, discriminator, bn_eps, sn_eps: See `load_source`.
        weights: `ema`, or `raw` for the weights of a TF-Hub module without the EMA.
    """
    epsilons = {"bn_eps": bn_eps, "sn_eps": sn_eps}
    kind, _ = split_handle(handle)
    if weights != "ema" and kind != "tfhub":
        raise InputError(f"--weights={weights} is for tfhub: sources, got {handle!r}")
    options = {"weights": weights} if kind == "tfhub" else {}
    imported = _read(handle, **epsilons, **options)
    if imported.generator is None:
        raise InputError(f"expected a generator at {handle}, found a discriminator alone")
    if not discriminator:
        return imported
    return _with_discriminator(imported, _read(discriminator, **epsilons), handle, discriminator)


def to_gan(imported: Imported) -> Gan:
    """The networks alone; classes without names are called by their numbers."""
    names = imported.class_names
    if names is None:
        names = [f"class_{i}" for i in range(imported.spec.num_classes)]
    networks = imported.generator, imported.discriminator
    return Gan(imported.spec, *networks, list(names), imported.provenance)


def _with_discriminator(imported: Imported, other: Imported, handle: str, given: str) -> Imported:
    if other.discriminator is None:
        raise InputError(f"expected a discriminator at {given}, found none")
    for field in ("resolution", "num_classes"):
        expected, found = getattr(imported.spec, field), getattr(other.spec, field)
        if field == "num_classes":
            found = other.discriminator.num_classes
        if expected != found:
            raise InputError(
                f"expected a discriminator with {field} {expected} as {handle} has, "
                f"got {found} from {given}"
            )
    fields = ("d_widths", "d_halvings", "d_attention")
    spec = dataclasses.replace(
        imported.spec, **{f: getattr(other.spec, f) for f in fields}, d_classes=0
    )
    return dataclasses.replace(
        imported,
        spec=spec,
        discriminator=other.discriminator,
        report=imported.report + other.report,
        notes=[*imported.notes, f"the discriminator comes from {given}", *other.notes],
        provenance={**imported.provenance, "discriminator": other.provenance},
    )


def is_handle(text: str) -> bool:
    """Whether a text has the form of a source's handle, as opposed to a path."""
    kind, colon, rest = text.partition(":")
    return bool(kind in _READERS and colon and rest)


def split_handle(handle: str) -> tuple[str, str]:
    """`(kind, rest)` of a handle; `InputError` for an unknown kind."""
    kind, _, rest = handle.partition(":")
    if kind not in _READERS or not rest:
        raise InputError(f"expected a source {_FORMS}, got {handle!r}")
    return kind, rest


def _read(handle: str, **options) -> Imported:
    kind, rest = split_handle(handle)
    return _READERS[kind](rest, **options)
