"""Networks of `methods.minegan`: sources, miners, and what is exported of them."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from keras import ops

from cgt_tf.config import Config
from cgt_tf.data.image_set import ImageSet
from cgt_tf.errors import InputError
from cgt_tf.methods.base import DataSpec
from cgt_tf.methods.discriminant import nearest_classes
from cgt_tf.methods.minegan_settings import Branches, MineGANSettings
from cgt_tf.methods.miner import LAYERS, Miner, set_start, set_vectors
from cgt_tf.methods.run_networks import Networks
from cgt_tf.methods.transfer import check_transfer, transferred_discriminator
from cgt_tf.methods.whole_generator import whole_spec
from cgt_tf.networks.biggan import BaseGenerator
from cgt_tf.networks.extended import ExtendedGenerator
from cgt_tf.networks.fold import copy_all, copy_statistics
from cgt_tf.networks.gan import Gan, create_generator
from cgt_tf.networks.selector import Selector
from cgt_tf.networks.spec import GanSpec
from cgt_tf.networks.weights import copy_weights

# Fields in which sources that compete may differ: those of their classes and discriminators.
_FREE = (
    *("num_classes", "truncation_grid"),
    *("d_widths", "d_classes", "d_halvings", "d_attention"),
)
# What a miner of each setting `classes` sees of the label.
_MINERS = {"per_class": "each", "miners_shared_g": "each", "conditional": "given", "pooled": "none"}


def check_sources(
    sources: Sequence[Gan],
    handles: Sequence[str],
    target: DataSpec,
    settings: MineGANSettings,
) -> None:
    """`InputError` for sources of different shapes, and for classes that they do not suit."""
    first = sources[0].spec
    for source, handle in zip(sources[1:], handles[1:], strict=True):
        for field in (f.name for f in dataclasses.fields(GanSpec) if f.name not in _FREE):
            expected, found = getattr(first, field), getattr(source.spec, field)
            if expected != found:
                raise InputError(
                    f"expected sources of equal shape, got {field} {expected} of {handles[0]} and "
                    f"{found} of {handle}"
                )
    count = len(target.class_names)
    if not count:
        raise InputError("expected at least one new class, got none")
    if settings.classes == "per_class" and count > 1:
        raise InputError(
            f"expected one new class for classes=per_class, got {count}: choose one with "
            "--config.data.classes, or a miner for each with classes=miners_shared_g"
        )
    for source in sources:
        check_transfer(source, target)
    if settings.old_classes > first.num_classes:
        raise InputError(
            f"expected old_classes of at most the source's {first.num_classes}, "
            f"got {settings.old_classes}"
        )


def mined_spec(source: GanSpec, num_classes: int, settings: MineGANSettings) -> GanSpec:
    """The spec of a source's generator behind a miner of the settings' form."""
    return dataclasses.replace(
        source,
        num_classes=num_classes,
        table_classes=source.num_classes,
        wrapper="mined",
        d_classes=0,
        truncation_grid=(),
        miner_layers=LAYERS if settings.relu else 0,
        miner_softmax=not source.embeds_vectors and not settings.old_classes,
    )


def build(sources: Sequence[Gan], target: DataSpec, config: Config, branches: Branches) -> Networks:
    """The sources' generators, a miner for each that competes, a selector, and a discriminator."""
    settings, count = getattr(config, config.method.name), len(target.class_names)
    rng = np.random.default_rng(config.seed)
    names = dict.fromkeys(generator for generator, _ in branches)
    networks = {
        name: copied(source.generator, config.source_truncation, name)
        for name, source in zip(names, sources, strict=True)
    }
    for generator, miner in branches:
        spec = mined_spec(networks[generator].spec, count, settings)
        networks[miner] = _create_miner(spec, settings, rng, networks[generator], miner)
    if len(branches) > 1:
        members = {"members": len(branches), "selector": settings.selector}
        networks["selector"] = Selector(dataclasses.replace(spec, **members), name="selector")
        networks["selector"].build((None, spec.dim_z))
    spec = whole_spec(sources[0].spec, count)
    generator = networks.pop("generator")
    discriminator = transferred_discriminator(sources[0], spec, config)
    return Networks(spec, list(target.class_names), generator, discriminator, networks)


def copied(source: BaseGenerator, truncation: float, name: str) -> BaseGenerator:
    """A source's generator, old classes included, with its statistics at a truncation."""
    spec = dataclasses.replace(source.spec, truncation_grid=(), d_classes=0)
    generator = create_generator(spec, initializer="zeros", name=name)
    copy_all(source, generator)
    copy_statistics(source, generator, truncation)
    return generator


def _create_miner(
    spec: GanSpec, settings: MineGANSettings, rng, generator: BaseGenerator, name: str
) -> Miner:
    identity = settings.start == "identity"
    miner = Miner(
        spec,
        classes=_MINERS[settings.classes],
        relu=settings.relu,
        spectral_norm=settings.spectral_norm,
        free_vectors=identity,
        fixed_class=bool(settings.old_classes),
        name=name,
    )
    miner.build((None, spec.dim_z))
    set_start(miner, settings.start, rng)
    if identity and not settings.old_classes:
        set_vectors(miner, _vectors(generator), [np.arange(spec.rows)] * miner.count)
    return miner


def _vectors(generator: BaseGenerator) -> np.ndarray | None:
    """The old classes' vectors [N, s]; None where a class is a row of each norm's table."""
    if not generator.spec.embeds_vectors:
        return None
    return ops.convert_to_numpy(generator.class_embedding.table())


def choose_classes(
    networks: Networks,
    sources: Sequence[Gan],
    images: ImageSet,
    settings: MineGANSettings,
    branches: Branches,
) -> None:
    """Sets the old classes that compete, or that class vectors start at, by the nearest ones.

    Those that compete are the nearest to the mean of all images of the run.
    """
    if settings.old_classes:
        pooled = ImageSet(images.images, np.zeros_like(images.labels), ("all",), images.name)
        (chosen,) = nearest_classes(sources[0], pooled, settings.old_classes)
        table = _vectors(networks.generator)
        if table is None:
            table = np.eye(networks.generator.spec.num_classes)
        for (_, miner), row in zip(branches, chosen, strict=True):
            networks[miner].fixed.assign(table[row])
    elif settings.class_start == "nearest":
        for source, (generator, miner) in zip(sources, branches, strict=True):
            nearest = nearest_classes(source, images, settings.nearest_classes)
            set_vectors(networks[miner], _vectors(networks[generator]), nearest)


def extended(networks: Networks, branches: Branches) -> ExtendedGenerator:
    """The generators behind folded miners; with one body, several miners stand before it."""
    bodies = list(dict.fromkeys(generator for generator, _ in branches))
    spec = networks[branches[0][1]].spec
    if len(branches) > 1:
        members = {"members": len(branches), "selector": networks["selector"].spec.selector}
        if len(bodies) > 1:
            rows = tuple(networks[body].spec.num_classes for body in bodies)
            members |= {"wrapper": "selected", "member_classes": rows}
        spec = dataclasses.replace(spec, **members)
    whole = create_generator(spec, initializer="zeros")
    parts = whole.members if len(bodies) > 1 else [whole]
    miners = [part.miner for part in parts]
    if len(branches) > len(bodies):
        miners = whole.miner.members

    def refold():
        for body, part in zip(bodies, parts, strict=True):
            copy_weights(networks[body], part, lambda name: name.startswith("miner/"))
        for (_, name), miner in zip(branches, miners, strict=True):
            networks[name].fold_into(miner)
        if len(branches) > 1:
            selector = whole.selector if len(bodies) > 1 else whole.miner.selector
            copy_weights(networks["selector"], selector)

    refold()
    return ExtendedGenerator(whole, networks.class_names, refold)
