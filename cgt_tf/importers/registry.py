"""Handles of source GANs and what reads each kind."""

import dataclasses
from pathlib import Path

from cgt_tf.errors import InputError
from cgt_tf.importers import native
from cgt_tf.models.gan import Gan

_BUNDLED = Path(__file__).parent.parent / "assets"


def load_source(
    handle: str,
    discriminator: str | None = None,
    bn_eps: float | None = None,
    sn_eps: float | None = None,
) -> Gan:
    """Opens a source GAN.

    Args:
        handle: `bundled:<name>` (shipped with the package: `glyphs32`), or `model:<dir>` (written
            by `cgt-export --format=native`).
        discriminator: handle to take the discriminator from instead.
        bn_eps, sn_eps: epsilons to use instead of the source's own.

    Raises:
        InputError: an unknown handle, missing or damaged files, or a discriminator of another
            resolution or number of classes.
    """
    gan = _load(handle, bn_eps, sn_eps)
    if not discriminator:
        return gan
    other = _load(discriminator, bn_eps, sn_eps)
    for field in ("resolution", "num_classes"):
        expected, given = getattr(gan.spec, field), getattr(other.spec, field)
        if expected != given:
            raise InputError(
                f"expected a discriminator with {field} {expected} as {handle} has, "
                f"got {given} from {discriminator}"
            )
    if other.discriminator is None:
        raise InputError(f"expected a discriminator at {discriminator}, found none")
    spec = dataclasses.replace(
        gan.spec,
        **{f: getattr(other.spec, f) for f in ("d_widths", "d_halvings", "d_attention")},
    )
    return Gan(spec, gan.generator, other.discriminator, gan.class_names)


def _load(handle: str, bn_eps: float | None, sn_eps: float | None) -> Gan:
    kind, _, rest = handle.partition(":")
    if kind == "bundled" and rest:
        directory = _BUNDLED / rest
        if not (directory / "spec.json").is_file():
            names = ", ".join(sorted(p.parent.name for p in _BUNDLED.glob("*/spec.json")))
            raise InputError(f"expected bundled:<name> with a name of {names}, got {handle!r}")
        return native.load_model(directory, bn_eps, sn_eps)
    if kind == "model" and rest:
        return native.load_model(rest, bn_eps, sn_eps)
    raise InputError(f"expected a source handle, bundled:<name> or model:<dir>, got {handle!r}")
