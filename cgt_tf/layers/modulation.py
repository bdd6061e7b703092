"""Kernels of a source, standardised and modulated for each class: formulas without variables.

After Hyper-Modulation (hecoding/Hyper-Modulation): of a kernel W the pairs of input and output
channel are standardised over their nine taps, W~ = (W - mu) / s with the sample deviation
s (n - 1 = 8), and a class c has

    W_c = k (gamma_c W~ + beta_c),    k = sqrt(2 / (9 C_in)),

gamma_c and beta_c one number for each pair, beta_c added to all nine taps. gamma = s / k and
beta = mu / k give W itself. Of low rank (ours) the two are factors about that identity,

    gamma_c = s / k + sum_q a_q b_q,    beta_c = mu / k + sum_q c_q d_q,

which needs r + 1 ordinary convolutions in place of a kernel for each sample.

All functions work on arrays of any float dtype. Images are [B, H, W, C], kernels [3, 3, C_in,
C_out].
"""

from typing import Any, NamedTuple

from keras import ops

from cgt_tf.layers import resample
from cgt_tf.layers.equalised import equalised

TAPS = 9


class Factors(NamedTuple):
    """What a class does to a convolution at rank r.

    Attributes:
        a, c: [B, r, C_out], of gamma and beta.
        b, d: [B, r, C_in], of gamma and beta.
        bias: [B, C_out].
    """

    a: Any
    b: Any
    c: Any
    d: Any
    bias: Any


def standardise(kernel):
    """`(W~, mu, s)` of a kernel: shapes [3, 3, C_in, C_out] and twice [C_in, C_out].

    A pair whose taps are all equal has s = 0 and W~ = 0.
    """
    mean = ops.mean(kernel, axis=(0, 1))
    centred = kernel - mean
    deviation = ops.sqrt(ops.sum(ops.square(centred), axis=(0, 1)) / (TAPS - 1))
    return centred / ops.where(deviation > 0, deviation, ops.ones_like(deviation)), mean, deviation


def standardise_bias(bias):
    """(b - mean) / s over the output channels, s with n - 1; zeros where all are equal."""
    centred = bias - ops.mean(bias)
    deviation = ops.sqrt(ops.sum(ops.square(centred)) / max(bias.shape[0] - 1, 1))
    return centred / ops.where(deviation > 0, deviation, ops.ones_like(deviation))


def split_full(outputs, in_channels: int):
    """Outputs of a full head, [B, 2 C_out C_in] in the order (out, in, {gamma, beta}).

    Returns:
        `(gamma, beta)`, each [B, C_out, C_in].
    """
    out_channels = outputs.shape[-1] // (2 * in_channels)
    outputs = ops.reshape(outputs, (-1, out_channels, in_channels, 2))
    return outputs[..., 0], outputs[..., 1]


def full_kernels(standardised, gamma, beta):
    """W_c = k (gamma W~ + beta): [B, 3, 3, C_in, C_out] of gamma and beta [B, C_out, C_in]."""
    gamma, beta = (ops.transpose(x, (0, 2, 1))[:, None, None] for x in (gamma, beta))
    return equalised(TAPS * standardised.shape[2]) * (gamma * standardised + beta)


def low_rank_kernels(standardised, mean, deviation, factors: Factors):
    """W_c of factors: [B, 3, 3, C_in, C_out]."""
    k = equalised(TAPS * standardised.shape[2])
    gamma = deviation + k * ops.einsum("bri,bro->bio", factors.b, factors.a)
    beta = mean + k * ops.einsum("bri,bro->bio", factors.d, factors.c)
    return gamma[:, None, None] * standardised + beta[:, None, None]


def low_rank_convolve(x, standardised, kernel, factors: Factors, up=False):
    """Convolves each sample with its W_c, without making it; adds no bias.

    y = conv(x, W) + k sum_q a_q conv(b_q x, W~) + k sum_q c_q box(<d_q, x>), box the sum over a
    3x3 window.

    Args:
        x: [B, H, W, C_in].
        standardised: W~, see `standardise`.
        kernel: W.
        factors: Factors of each sample.
        up: Whether the convolution follows a 2x nearest upsampling.
    """

    def convolve(x, kernel):
        way = "up" if up else None
        return resample.convolve(x, resample.operand(kernel, way), way)

    _, height, width, channels = x.shape
    k, rank = equalised(TAPS * channels), factors.a.shape[1]
    scaled = x[:, None] * factors.b[:, :, None, None]
    scaled = convolve(ops.reshape(scaled, (-1, height, width, channels)), standardised)
    scaled = ops.reshape(scaled, (-1, rank, *scaled.shape[1:]))
    scaled = ops.sum(scaled * factors.a[:, :, None, None], axis=1)
    maps = ops.matmul(
        ops.reshape(x, (-1, height * width, channels)), ops.transpose(factors.d, (0, 2, 1))
    )
    maps = ops.reshape(maps, (-1, height, width, rank))
    maps = box_sum(resample.upsample_nearest(maps) if up else maps)
    _, height, width, _ = maps.shape
    shifted = ops.matmul(ops.reshape(maps, (-1, height * width, rank)), factors.c)
    shifted = ops.reshape(shifted, (-1, height, width, factors.c.shape[-1]))
    return convolve(x, kernel) + k * (scaled + shifted)


def box_sum(x):
    """Sums over 3x3 windows with zero padding, [B, H, W, C] -> [B, H, W, C]."""
    for axis in (1, 2):
        padding = [(0, 0)] * 4
        padding[axis] = (1, 1)
        x = ops.pad(x, padding)
        before, middle, after = (slice(0, -2), slice(1, -1), slice(2, None))
        parts = [x[:, part] if axis == 1 else x[:, :, part] for part in (before, middle, after)]
        x = sum(parts)
    return x
