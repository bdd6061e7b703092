"""Which variable of DeepMind's BigGAN and BigGAN-deep modules is which of ours.

Names are the checkpoint's without the suffix of their EMA. In both families a norm's
projections see the chunk of z first and the class embedding second; ours see the class first.
"""

import itertools

import numpy as np

from cgt_tf.formats.assign import SAME, Layout, Rule, reshaped
from cgt_tf.networks.spec import GanSpec, discriminator_fields

EMBEDDING = "linear/w"
_SCALAR = reshaped((1,), ())


def infer_spec(shapes: dict[str, tuple[int, ...]], **epsilons: float) -> GanSpec:
    """The spec that the shapes of a module's variables tell.

    Raises:
        KeyError: a variable is missing.
    """
    deep = "Generator/GenZ/G_linear/w" in shapes
    num_classes, shared_dim = shapes[EMBEDDING]
    blocks = itertools.takewhile(lambda i: f"{_block(i)}/conv0/w" in shapes, itertools.count())
    count = len(list(blocks))
    if deep:
        widths = [shapes[f"{_block(0)}/conv0/w"][2]]
        widths += [shapes[f"{_block(i)}/conv3/w"][3] for i in range(1, count, 2)]
        dim_z = shapes["Generator/GenZ/G_linear/w"][0] - shared_dim
        bottom = shapes["Generator/GenZ/G_linear/w"][1] // widths[0]
    else:
        widths = [shapes[f"{_block(0)}/conv0/w"][2]]
        widths += [shapes[f"{_block(i)}/conv0/w"][3] for i in range(count)]
        dim_z = shapes["Generator/G_Z/G_linear/w"][0] * (count + 1)
        bottom = shapes["Generator/G_Z/G_linear/w"][1] // widths[0]
    bottom_width = round(bottom**0.5)
    resolution = bottom_width * 2 ** (len(widths) - 1)
    attention = ()
    if "Generator/attention/theta/w" in shapes:
        # The attention's position shows in its channels; of equal ones the largest map is meant.
        channels = shapes["Generator/attention/theta/w"][2]
        last = max(i for i, width in enumerate(widths) if width == channels)
        attention = (bottom_width * 2**last,)
    return GanSpec(
        architecture="biggan_deep" if deep else "biggan",
        resolution=resolution,
        num_classes=num_classes,
        dim_z=dim_z,
        hierarchical=not deep,
        shared_dim=shared_dim,
        g_widths=tuple(widths),
        g_attention=attention,
        bottom_width=bottom_width,
        **discriminator_fields(resolution, widths[-1]),
        **epsilons,
    )


def weight_rules(spec: GanSpec) -> list[Rule]:
    """Rules of everything but the batch-norm statistics."""
    class_first = _class_first(spec.chunk_dim)
    rules = [Rule("class_embedding/embeddings", EMBEDDING)]
    if spec.deep:
        rules += _spectral("linear", "Generator/GenZ/G_linear", class_first)
        rules += _spectral("output_conv", "Generator/conv_to_rgb")
    else:
        rules += _spectral("linear", "Generator/G_Z/G_linear")
        rules += _spectral("output_conv", "Generator/conv_2d")
    convs = ("conv1", "conv2", "conv3", "conv4") if spec.deep else ("conv1", "conv2", "shortcut")
    scopes = ("conv0", "conv1", "conv2", "conv3") if spec.deep else ("conv0", "conv1", "conv_sc")
    for i in range(_block_count(spec)):
        for ours, theirs in zip(convs, scopes, strict=True):
            rules += _spectral(f"block_{i}/{ours}", f"{_block(i)}/{theirs}")
        if spec.bottom_width * 2 ** _doublings(spec, i) in spec.g_attention:
            rules += _attention(f"attention_{i}")
    for norm, _, scale, shift in _conditional_norms(spec):
        rules += _spectral(f"{norm}/scale", scale, class_first, bias=False)
        rules += _spectral(f"{norm}/shift", shift, class_first, bias=False)
    channels = spec.g_widths[-1]
    gain, bias = ("BatchNorm/scale", "BatchNorm/offset")
    if not spec.deep:
        gain, bias = ("ScaledCrossReplicaBN/gamma", "ScaledCrossReplicaBN/beta")
    layout = reshaped((1, 1, 1, channels), (channels,))
    rules.append(Rule("output_norm/gain", f"Generator/{gain}", layout))
    rules.append(Rule("output_norm/bias", f"Generator/{bias}", layout))
    return rules


def norm_scopes(spec: GanSpec) -> list[tuple[str, str, int]]:
    """`(our norm, scope of its accumulated_mean, channels)` in network order."""
    found = [(norm, scope) for norm, scope, _, _ in _conditional_norms(spec)]
    output = "Generator/BatchNorm" if spec.deep else "Generator/ScaledCrossReplicaBNbn"
    channels = []
    for i in range(_block_count(spec)):
        stage = i // 2 if spec.deep else i
        width, following = spec.g_widths[stage : stage + 2]
        channels += [width] + [width // 4] * 3 if spec.deep else [width, following]
    names = [*found, ("output_norm", output)]
    return [(*pair, c) for pair, c in zip(names, [*channels, spec.g_widths[-1]], strict=True)]


def _conditional_norms(spec: GanSpec):
    """`(our norm, scope of its statistics, scope of its scale, of its shift)`, in network order."""
    for i in range(_block_count(spec)):
        for j in range(4 if spec.deep else 2):
            ours, block = f"block_{i}/norm{j + 1}", _block(i)
            if spec.deep:
                scope = f"{block}/{_numbered('BatchNorm', j)}"
                yield ours, scope, f"{scope}/scale", f"{scope}/offset"
            else:
                projections = f"{block}/{_numbered('HyperBN', j)}"
                statistics = f"{block}/{_numbered('CrossReplicaBN', j)}"
                yield ours, statistics, f"{projections}/gamma", f"{projections}/beta"


def _attention(target: str):
    yield Rule(f"{target}/gain", "Generator/attention/gamma", _SCALAR)
    for ours, theirs in (("theta", "theta"), ("phi", "phi"), ("g", "g"), ("o", "o_conv")):
        yield from _spectral(f"{target}/{ours}", f"Generator/attention/{theirs}", bias=False)


def _spectral(target: str, scope: str, kernel: Layout = SAME, bias: bool = True):
    yield Rule(f"{target}/kernel", f"{scope}/w", kernel)
    yield Rule(f"{target}/u", f"{scope}/u0")
    if bias:
        yield Rule(f"{target}/bias", f"{scope}/b")


def _class_first(chunk_dim: int) -> Layout:
    """Rows of z, then of the class -> rows of the class, then of z."""
    return Layout(
        "rows of the class moved before those of z",
        lambda x: np.roll(x, -chunk_dim, axis=0),
        lambda x: np.roll(x, chunk_dim, axis=0),
    )


def _block(i: int) -> str:
    return f"Generator/{_numbered('GBlock', i)}"


def _numbered(name: str, i: int) -> str:
    return f"{name}_{i}" if i else name


def _block_count(spec: GanSpec) -> int:
    return spec.num_blocks * (2 if spec.deep else 1)


def _doublings(spec: GanSpec, i: int) -> float:
    """Doublings after block i; BigGAN-deep's even blocks double nothing and bear no attention."""
    if not spec.deep:
        return i + 1
    return (i + 1) // 2 if i % 2 else float("nan")
