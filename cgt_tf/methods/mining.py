"""Networks and losses of `methods.minegan`: what is mined, and how several sources compete."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from keras import ops

from cgt_tf.config import Config
from cgt_tf.data.image_set import ImageSet
from cgt_tf.errors import InputError
from cgt_tf.methods.base import DataSpec, Networks
from cgt_tf.methods.miner import LAYERS, Miner, set_start, set_vectors
from cgt_tf.methods.objectives import AdversarialLoss
from cgt_tf.methods.phases import Pass, Terms
from cgt_tf.methods.propagation_init import nearest_classes
from cgt_tf.methods.transfer import check_transfer, transferred_discriminator
from cgt_tf.methods.whole_generator import whole_spec
from cgt_tf.networks.biggan import BaseGenerator
from cgt_tf.networks.conditioning import class_weights, truncation_weights
from cgt_tf.networks.extended import ExtendedGenerator
from cgt_tf.networks.fold import STATISTICS, copy_all, statistics
from cgt_tf.networks.gan import Gan, create_generator
from cgt_tf.networks.selector import Selector, picked
from cgt_tf.networks.spec import GanSpec

# Fields in which sources that compete may differ: those of their classes and discriminators.
_FREE = (
    *("num_classes", "truncation_grid"),
    *("d_widths", "d_classes", "d_halvings", "d_attention"),
)
# What a miner of each setting `classes` sees of the label.
_MINERS = {"per_class": "each", "miners_shared_g": "each", "conditional": "given", "pooled": "none"}
# Share of the counted wins that a step keeps: they stand for the last hundred steps or so.
_KEPT = 0.99

Branches = Sequence[tuple[str, str]]


def check_sources(
    sources: Sequence[Gan], handles: Sequence[str], target: DataSpec, settings
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


def mined_spec(source: GanSpec, num_classes: int, settings) -> GanSpec:
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
    grid = source.spec.truncation_grid
    if grid:
        weights = ops.convert_to_numpy(truncation_weights(truncation, grid))[0]
        pairs = zip(_norms(source), _norms(generator), strict=True)
        for old, new in pairs:
            for name, rows in zip(STATISTICS, statistics(source.spec, old), strict=True):
                variable = getattr(new, name)
                variable.assign(np.einsum("t,dtc->dc", weights, rows).reshape(variable.shape))
    return generator


def _norms(generator: BaseGenerator) -> list:
    return [*generator.conditional_norms(), generator.output_norm]


def _create_miner(spec: GanSpec, settings, rng, generator: BaseGenerator, name: str) -> Miner:
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
    networks: Networks, sources: Sequence[Gan], images: ImageSet, settings, branches: Branches
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


def winners(logits) -> tf.Tensor:
    """One-hot rows [B, n] of the highest of a critic's logits [B, n]; it has no gradient."""
    return tf.one_hot(tf.argmax(logits, axis=-1), logits.shape[-1])


def selection_loss(logits, choice) -> tf.Tensor:
    """Mean cross entropy of a selector's logits [B, n] to the winners, one-hot rows [B, n]."""
    choice = tf.stop_gradient(choice)
    return tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(choice, logits))


class Competition:
    """Images of one branch, or of that whose image the critic finds best, sample by sample.

    A branch is a generator behind a miner. The critic is the run's discriminator on what the
    augmentation makes of the images; its choice has no gradient, and branches that lost get none.

    Args:
        branches: names of each one's generator and miner.
        loss: which of the discriminator's logits are compared.
        settings: of the method.
    """

    def __init__(self, branches: Branches, loss: AdversarialLoss, settings):
        self._branches = branches
        self._loss = loss
        self._settings = settings

    def generate(self, batch_statistics: bool):
        """For `Adversarial`; the generators are in training only with `batch_statistics`."""

        def images(p: Pass, z, classes, training: bool):
            weights = class_weights(classes, p.networks.spec.num_classes)
            made = self._made(p, z, weights, training, training and batch_statistics)
            if len(made) == 1:
                return made[0], {}
            choice = self._winners(p, made, weights)
            if training and self._settings.selector == "frequency":
                counts = p.networks["selector"].counts
                seen = tf.matmul(weights, choice, transpose_a=True)
                counts.assign(_KEPT * counts + seen)
            return picked(made, choice), {"winners": choice}

        return images

    def selector_terms(self, p: Pass) -> Terms:
        """Loss of the selector as a classifier, on fresh draws; 0 before its first step."""
        spec, selector = p.networks.spec, p.networks["selector"]
        z, labels = p.draws.latents(spec.dim_z, spec.num_classes)
        weights = class_weights(labels, spec.num_classes)
        made = self._made(p, z, weights, False, False)
        choice, logits = self._winners(p, made, weights), selector.logits(z, weights)
        due = tf.cast(p.step >= self._settings.selector_start, tf.float32)
        right = tf.reduce_mean(tf.reduce_sum(choice * winners(logits), axis=-1))
        terms = {"selection_loss": due * selection_loss(logits, choice)}
        return Terms(terms, {"selection_accuracy": right})

    def _made(self, p: Pass, z, weights, training: bool, generator_training: bool) -> list:
        made = []
        for generator, miner in self._branches:
            mined = p.networks[miner](z, weights, training=training)
            made.append(p.networks[generator](*mined, training=generator_training)[0])
        return made

    def _winners(self, p: Pass, made: list, weights) -> tf.Tensor:
        from cgt_tf.methods.adversarial import FAKE

        logits = []
        for images in made:
            seen = p.augment(tf.stop_gradient(images), FAKE)
            outputs = p.networks.discriminator(seen, weights, training=False)
            logits.append(self._loss.combined(*outputs, p.step))
        return winners(tf.stack(logits, axis=-1))


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
            _copy(networks[body], part)
        for (_, name), miner in zip(branches, miners, strict=True):
            networks[name].fold_into(miner)
        if len(branches) > 1:
            selector = whole.selector if len(bodies) > 1 else whole.miner.selector
            _copy(networks["selector"], selector)

    refold()
    return ExtendedGenerator(whole, networks.class_names, refold)


def _copy(source, target) -> None:
    """Values of all of the source's variables, by their paths below both layers."""
    values = {v.path.removeprefix(f"{target.path}/"): v for v in target.variables}
    for variable in source.variables:
        values[variable.path.removeprefix(f"{source.path}/")].assign(variable)
