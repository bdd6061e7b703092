"""Every public layer with arguments that it can be called with."""

import functools

import numpy as np
import tensorflow as tf

from cgt_tf.layers.attention import SelfAttention
from cgt_tf.layers.class_dense import ClassDense
from cgt_tf.layers.class_kernels import ClassKernelConv2D
from cgt_tf.layers.conditional_batch_norm import (
    AffineBatchNorm,
    Condition,
    ConditionalBatchNorm,
    ProjectedBatchNorm,
    TableBatchNorm,
)
from cgt_tf.layers.equalised import EqualisedDense, TaskNetwork
from cgt_tf.layers.modulated_kernels import (
    ClassFactorConv2D,
    HyperConv2D,
    HyperLowRankConv2D,
)
from cgt_tf.layers.pseudo_class_batch_norm import (
    PropagatedOffsets,
    PseudoClassBatchNorm,
    ScoreMatrix,
)
from cgt_tf.layers.spectral import SpectralConv2D, SpectralDense, SpectralEmbedding


def normal(*shape, seed=0):
    return tf.constant(np.random.default_rng(seed).normal(size=shape), tf.float32)


IMAGES = normal(2, 4, 4, 8)
CLASSES = tf.constant([[0.0, 1.0, 0.0], [0.5, 0.0, 0.5]])
DOMAINS = tf.constant([[1.0, 0.0], [0.25, 0.75]])
UNCONDITIONAL = Condition(None)
BY_CLASS = Condition(CLASSES)
BY_CLASS_AND_LATENT = Condition(CLASSES, normal(2, 2, seed=1))
BY_EMBEDDING = Condition(None, embedding=CLASSES)
BY_EMBEDDING_AND_LATENT = Condition(None, normal(2, 2, seed=1), embedding=CLASSES)
BY_DOMAIN = Condition(CLASSES, normal(2, 2, seed=1), DOMAINS, DOMAINS)
BY_KERNELS = Condition(CLASSES, kernels=normal(2, 3, seed=2))
CONV = functools.partial(SpectralConv2D, spectral_norm=False)

# name: (factory, call arguments)
CASES = {
    "dense": (lambda: SpectralDense(5, sn_eps=1e-3), (normal(2, 3),)),
    "dense_plain": (lambda: SpectralDense(5, spectral_norm=False, use_bias=False), (normal(2, 3),)),
    "conv": (lambda: SpectralConv2D(5, kernel_initializer="he_normal"), (IMAGES,)),
    "conv_1x1": (lambda: SpectralConv2D(5, kernel_size=1, use_bias=False), (IMAGES,)),
    "conv_up": (lambda: SpectralConv2D(5, resample="up"), (IMAGES,)),
    "conv_down": (lambda: SpectralConv2D(5, resample="down", fused=False), (IMAGES,)),
    "embedding": (lambda: SpectralEmbedding(4), (CLASSES,)),
    "attention": (lambda: SelfAttention(8), (IMAGES,)),
    "attention_conv": (lambda: SelfAttention(8, conv=CONV), (IMAGES,)),
    "norm": (lambda: ConditionalBatchNorm(8, momentum=0.5), (IMAGES, UNCONDITIONAL)),
    "affine": (lambda: AffineBatchNorm(8, epsilon=1e-2), (IMAGES, UNCONDITIONAL)),
    "projected": (lambda: ProjectedBatchNorm(8, condition_dim=3), (IMAGES, BY_EMBEDDING)),
    "projected_latent": (
        lambda: ProjectedBatchNorm(8, condition_dim=5, sn_eps=1e-3),
        (IMAGES, BY_EMBEDDING_AND_LATENT),
    ),
    "table": (lambda: TableBatchNorm(8, num_classes=3), (IMAGES, BY_CLASS)),
    "table_latent": (
        lambda: TableBatchNorm(8, num_classes=3, latent_dim=2, initializer="zeros"),
        (IMAGES, BY_CLASS_AND_LATENT),
    ),
    "pseudo_class": (
        lambda: PseudoClassBatchNorm(8, offsets={"num_classes": 3, "num_pseudo_classes": 4}),
        (IMAGES, BY_CLASS),
    ),
    "pseudo_class_latent": (
        lambda: PseudoClassBatchNorm(
            8,
            offsets={
                "num_classes": 3,
                "num_pseudo_classes": 4,
                "latent_dim": 2,
                "spectral_norm": True,
                "score_bias": True,
                "prior_bias": True,
                "latent_bias": True,
            },
        ),
        (IMAGES, BY_CLASS_AND_LATENT),
    ),
    "propagated": (
        lambda: PropagatedOffsets(4, num_classes=3, num_pseudo_classes=5),
        (CLASSES,),
    ),
    "scores": (lambda: ScoreMatrix(5, use_bias=True), (normal(2, 5),)),
    "conv_outputs": (lambda: SpectralConv2D(5, outputs=3), (IMAGES,)),
    "affine_domains": (lambda: AffineBatchNorm(8, statistics=2), (IMAGES, BY_DOMAIN)),
    "table_domains": (
        lambda: TableBatchNorm(8, num_classes=3, latent_dim=2, domains=2, statistics=2),
        (IMAGES, BY_DOMAIN),
    ),
    "class_dense": (lambda: ClassDense(3, 5), (normal(2, 3), CLASSES)),
    "class_dense_plain": (
        lambda: ClassDense(3, 5, spectral_norm=False, sn_eps=1e-3),
        (normal(2, 3), CLASSES),
    ),
    "class_kernels": (lambda: ClassKernelConv2D(3, 5), (IMAGES, BY_CLASS)),
    "class_kernels_up": (lambda: ClassKernelConv2D(3, 5, resample="up"), (IMAGES, BY_KERNELS)),
    "equalised": (lambda: EqualisedDense(5), (normal(2, 3),)),
    "task_network": (lambda: TaskNetwork(3, 4), (CLASSES,)),
    "full_heads": (lambda: HyperConv2D(5, width=3), (IMAGES, BY_KERNELS)),
    "full_heads_up": (
        lambda: HyperConv2D(5, width=3, resample="up", identity=True),
        (IMAGES, BY_KERNELS),
    ),
    "low_rank_heads": (lambda: HyperLowRankConv2D(5, rank=2, width=3), (IMAGES, BY_KERNELS)),
    "low_rank_heads_up": (
        lambda: HyperLowRankConv2D(5, rank=1, width=3, resample="up", identity=False),
        (IMAGES, BY_KERNELS),
    ),
    "class_factors": (lambda: ClassFactorConv2D(3, 5, rank=2), (IMAGES, BY_CLASS)),
    "class_factors_up": (
        lambda: ClassFactorConv2D(3, 5, rank=1, resample="up"),
        (IMAGES, BY_KERNELS),
    ),
}


def randomize(layer):
    """So that no variable is at a value where it has no effect."""
    for i, variable in enumerate(layer.variables):
        value = normal(*variable.shape, seed=10 + i).numpy()
        variable.assign(abs(value) + 0.5 if variable.name == "moving_variance" else value)
