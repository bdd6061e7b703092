"""Resampling convolutions of BigGAN, fused into one strided convolution each.

A 2x nearest-neighbour upsampling followed by a 3x3 convolution is the stride-2 transposed
convolution with the 3x3 kernel fully convolved with ones(2, 2), and a 3x3 convolution followed by a
2x2 average pool is the stride-2 convolution with that 4x4 kernel divided by four. Either way an
image pixel of the large side costs 4 multiplies a channel pair instead of 9 (36 -> 16 for each
pixel of the small side). The results are equal up to float rounding, gradients included.

Images are [B, H, W, C], kernels [3, 3, C_in, C_out]; H and W are even where they are halved.
"""

from keras import ops

# Zero padding of each axis that puts the 3x3 kernel at one of the four corners of a 4x4 one.
_CORNERS = tuple(((dy, 1 - dy), (dx, 1 - dx)) for dy in (0, 1) for dx in (0, 1))


def convolve_with_ones(kernel):
    """Full convolution of a [3, 3, C_in, C_out] kernel with ones(2, 2): [4, 4, C_in, C_out]."""
    return sum(ops.pad(kernel, (*corner, (0, 0), (0, 0))) for corner in _CORNERS)


def upsample_nearest(x):
    """Repeats each pixel 2x2: [B, H, W, C] -> [B, 2H, 2W, C]."""
    return ops.repeat(ops.repeat(x, 2, axis=1), 2, axis=2)


def average_pool(x):
    """Means of 2x2 pixels: [B, H, W, C] -> [B, H/2, W/2, C]."""
    return ops.average_pool(x, 2, strides=2, padding="valid")


def operand(kernel, resample=None, fused=True):
    """The kernel that `convolve` takes, of a [k, k, C_in, C_out] one.

    Args:
        resample: None leaves it as it is; "up": after 2x nearest upsampling, "down": before a 2x2
            average pool, both of a 3x3 kernel.
        fused: False leaves it as it is; True combines it with the resampling, to [4, 4, C_out,
            C_in] for "up" and [4, 4, C_in, C_out] for "down".
    """
    if resample is None or not fused:
        return kernel
    combined = convolve_with_ones(kernel)
    if resample == "down":
        return combined / 4
    # A transposed convolution mirrors its kernel, whose last axes are (C_out, C_in).
    return ops.flip(ops.transpose(combined, (0, 1, 3, 2)), axis=(0, 1))


def convolve(x, kernel, resample=None, fused=True):
    """Zero-padded convolution with its resampling, [B, H, W, C_in] -> [B, H', W', C_out].

    Args:
        kernel: What `operand` made for the same `resample` and `fused`.
    """
    if resample == "up" and fused:
        return ops.conv_transpose(x, kernel, strides=2, padding="same")
    if resample == "down" and fused:
        return ops.conv(x, kernel, strides=2, padding="same")
    y = ops.conv(upsample_nearest(x) if resample == "up" else x, kernel, padding="same")
    return average_pool(y) if resample == "down" else y
