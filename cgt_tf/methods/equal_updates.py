"""Learning rates at which groups of variables move the offsets of the norms equally fast.

Adam gives every coordinate a step of about the learning rate, whatever that does to the offsets
o [C] of a class. Let coordinate k move them by the row B_k, o = sum_k x_k B_k + ..., and let the
loss' gradient g with respect to o have no preferred direction (unit variance, uncorrelated). That
of x_k is then <B_k, g>, and its step eta <B_k, g> / |B_k|, so that o moves by eta K g with

    K = sum_k B_k B_k' / |B_k|,    RMS change of o = eta |K|_F / sqrt(C) = eta gain.

Divided by its gain, a learning rate changes the offsets as fast as that of free offsets (B = I,
gain 1) does. With N rows of one length that spread evenly over C <= N dimensions, and rho the RMS
of their elements, the gain is N rho / sqrt(C); with fewer rows than dimensions it is sqrt(N) rho;
with orthogonal rows sqrt(sum_k |B_k|^2 / C).
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np


class Response(NamedTuple):
    """What a step of unit size on a group's coordinates does to the offsets.

    Attributes:
        gain: RMS change of an offset.
        alignment: Correlation of the change with that of free offsets, in [0, 1].
    """

    gain: float
    alignment: float


def response(blocks: Iterable[np.ndarray], repeats: Iterable[int] | None = None) -> Response:
    """The response of a group of variables.

    Args:
        blocks: The rows B of each tensor of the group, [K, C]: what a coordinate adds to the
            offsets that depend on it. Tensors move different offsets.
        repeats: How many times each block is there, for coordinates of different offsets that have
            the same rows; default: once each.

    Returns:
        Over all offsets; both are 0 where nothing moves any.
    """
    blocks = [np.asarray(block, np.float64) for block in blocks]
    repeats = [1] * len(blocks) if repeats is None else list(repeats)
    squares = traces = outputs = 0.0
    for block, count in zip(blocks, repeats, strict=True):
        lengths = np.linalg.norm(block, axis=1)
        rows, lengths = block[lengths > 0], lengths[lengths > 0]
        unit = rows / lengths[:, None]
        # |K|_F^2 by the products of rows, which are fewer than those of columns in large nets.
        squares += count * np.sum((rows @ rows.T) * (unit @ unit.T))
        traces += count * lengths.sum()
        outputs += count * block.shape[1]
    gain = float(np.sqrt(squares / outputs))
    return Response(gain, float(traces / (outputs * gain)) if gain else 0.0)


def equal_scales(responses: dict[str, Response]) -> dict[str, float]:
    """Factors of the learning rate such that each group's RMS change is that of free offsets.

    A group that moves nothing keeps its rate.
    """
    return {name: 1 / each.gain if each.gain else 1.0 for name, each in responses.items()}


def shared_scales(responses: dict[str, Response]) -> dict[str, float]:
    """Factors such that the groups change the offsets equally, and together as free offsets do.

    Changes of two groups are taken to be correlated as far as each follows the free offsets': by
    the product of their alignments.
    """
    moving = [each for each in responses.values() if each.gain]
    alignments = np.array([each.alignment for each in moving])
    together = np.sqrt(alignments.sum() ** 2 + np.sum(1 - alignments**2))
    return {name: scale / together for name, scale in equal_scales(responses).items()}
