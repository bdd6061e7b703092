"""Folding: a generator with its spectral norms, embeddings and similarities multiplied out.

Used when a source is loaded for transfer (spectral norm is folded once, so that pseudo-classes keep
the scale they were trained at: methods in the code that divide them again shrink the prior up to
16 times) and when a generator is exported.
"""

import dataclasses
import functools

import numpy as np
from keras import ops

from cgt_tf.layers.conditional_batch_norm import FoldedOffsets, TableBatchNorm
from cgt_tf.models.biggan import Generator, class_weights
from cgt_tf.models.gan import build_networks
from cgt_tf.models.spec import GanSpec


@dataclasses.dataclass(frozen=True)
class NormState:
    """One conditional norm, folded: offsets of every class and the moving statistics [C]."""

    offsets: FoldedOffsets
    moving_mean: np.ndarray
    moving_variance: np.ndarray


def fold_norms(generator: Generator) -> list[NormState]:
    """Every conditional norm of a generator, in network order, as NumPy arrays."""
    embeddings = None
    if generator.class_embedding is not None:
        embeddings = ops.convert_to_tensor(generator.class_embedding.kernel)
    states = []
    for norm in generator.conditional_norms():
        offsets = (None if x is None else ops.convert_to_numpy(x) for x in norm.fold(embeddings))
        statistics = (ops.convert_to_numpy(x) for x in (norm.moving_mean, norm.moving_variance))
        states.append(NormState(FoldedOffsets(*offsets), *statistics))
    return states


def copy_unconditional(source: Generator, target: Generator) -> None:
    """Copies all that does not depend on the class, from one generator to another.

    That is the linear layer, convolutions, attention, and gain, bias and statistics of the output
    norm (statistics only where both keep one set). Spectral norms are divided out where `target`
    has none.
    """
    for old, new in zip(source.spectral_layers(), target.spectral_layers(), strict=True):
        new.kernel.assign(old.kernel if new.spectral_norm else old.normalized_kernel(False))
        if new.spectral_norm and old.spectral_norm:
            new.u.assign(old.u)
        if new.use_bias:
            new.bias.assign(old.bias)
    for key, attention in target.attentions.items():
        attention.gain.assign(source.attentions[key].gain)
    names = ["gain", "bias"]
    if source.output_norm.domains == target.output_norm.domains:
        names += ["moving_mean", "moving_variance"]
    for name in names:
        getattr(target.output_norm, name).assign(getattr(source.output_norm, name))


class ExtendedGenerator:
    """Old and new classes in one folded generator; what evaluation and export see.

    Each class belongs to one domain (all generators given at construction, in order): its
    batch-norm statistics and latent projections are that domain's, so the old classes' outputs do
    not change when new ones are learnt.

    Args:
        generators: generators with equal class-independent weights, e.g. `(source, transferred)`.
            Those weights are taken from the last.
        class_names: one list of names a generator.

    Attributes:
        spec: the folded generator's spec; `num_classes` counts all classes.
        class_names: all names, in label order.
        generator: a `Generator` of `TableBatchNorm`s with one domain for each given generator.
    """

    def __init__(self, generators: list[Generator], class_names: list[list[str]]):
        first = generators[0].spec
        counts = [generator.spec.num_classes for generator in generators]
        self.class_names = [name for names in class_names for name in names]
        self.spec: GanSpec = dataclasses.replace(first, num_classes=sum(counts), shared_dim=0)
        domains = len(generators)
        self._domain_of_class = np.repeat(np.eye(domains, dtype=np.float32), counts, axis=0)
        norm = functools.partial(
            TableBatchNorm,
            num_classes=sum(counts),
            latent_dim=first.chunk_dim,
            momentum=first.bn_momentum,
            epsilon=first.bn_eps,
            domains=domains,
        )
        self.generator = Generator(self.spec, norm=norm, spectral_norm=False, domains=domains)
        build_networks(self.generator)
        self.refresh(generators)

    def refresh(self, generators: list[Generator]) -> None:
        """Folds the generators' present weights into this one."""
        copy_unconditional(generators[-1], self.generator)
        output_norms = [generator.output_norm for generator in generators]
        for name in ("moving_mean", "moving_variance"):
            stacked = np.stack([ops.convert_to_numpy(getattr(n, name)) for n in output_norms])
            getattr(self.generator.output_norm, name).assign(stacked)
        folded = zip(*(fold_norms(generator) for generator in generators), strict=True)
        for norm, states in zip(self.generator.conditional_norms(), folded, strict=True):
            _assign_domains(norm, states)

    def __call__(self, z, labels):
        """Images float32 [B, R, R, 3] for z [B, dim_z] and labels int [B] or weights [B, K]."""
        weights = class_weights(labels, self.spec.num_classes)
        domains = ops.matmul(weights, self._domain_of_class)
        return self.generator(z, weights, domains=domains)[0]


def _assign_domains(norm: TableBatchNorm, states: tuple[NormState, ...]) -> None:
    norm.moving_mean.assign(np.stack([state.moving_mean for state in states]))
    norm.moving_variance.assign(np.stack([state.moving_variance for state in states]))
    for field, variable in (
        ("scale", norm.scale_table),
        ("shift", norm.shift_table),
        *(
            (("scale_latent", norm.scale_latent), ("shift_latent", norm.shift_latent))
            if norm.latent_dim
            else ()
        ),
    ):
        variable.assign(np.concatenate([getattr(state.offsets, field) for state in states]))
