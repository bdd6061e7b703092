"""Which variable of ours is which tensor of BigGAN-PyTorch, in that project's order of tensors."""

from cgt_tf.formats.assign import OIHW, SAME, TRANSPOSED, Layout, Rule
from cgt_tf.networks.spec import GanSpec

# Names of a norm's statistics below the norm, by implementation: its own (the default), the one
# that can accumulate standing statistics (`--mybn`), the synchronised one (`--cross_replica`).
STATISTICS = {
    "plain": ("stored_mean", "stored_var"),
    "mybn": ("bn.stored_mean", "bn.stored_var"),
    "cross_replica": ("bn.running_mean", "bn.running_var"),
}
# Reasons by the last part of a tensor's name.
IGNORED = {
    "sv0": "the singular value of the last step, which is computed at each call",
    "accumulation_counter": "batches in the statistics, which were divided by it",
    "num_batches_tracked": "batches seen, which moving averages do not need",
}
_ATTENTION = ("theta", "phi", "g", "o")


def generator_rules(spec: GanSpec, statistics: str = "plain") -> list[Rule]:
    """Rules of a generator.

    Args:
        spec: Spec of a generator that BigGAN-PyTorch can hold.
        statistics: A key of `STATISTICS`.
    """
    rules = [Rule("class_embedding/embeddings", "shared.weight")] if spec.shared_dim else []
    rules += _first_linear(spec.g_widths[0], spec.bottom_width)
    for i in range(spec.num_blocks):
        source = f"blocks.{i}.0"
        for ours, theirs in (("conv1", "conv1"), ("conv2", "conv2"), ("shortcut", "conv_sc")):
            rules += _convolution(f"block_{i}/{ours}", f"{source}.{theirs}")
        for n in (1, 2):
            rules += _norm(f"block_{i}/norm{n}", f"{source}.bn{n}", spec, statistics)
        if spec.bottom_width * 2 ** (i + 1) in spec.g_attention:
            rules += _attention(f"attention_{i}", f"blocks.{i}.1")
    norm = "output_layer.0"
    rules += [Rule(f"output_norm/{part}", f"{norm}.{part}") for part in ("gain", "bias")]
    rules += _statistics("output_norm", norm, spec, statistics)
    return rules + _convolution("output_conv", "output_layer.2")


def discriminator_rules(spec: GanSpec) -> list[Rule]:
    """Rules of a discriminator that BigGAN-PyTorch can hold."""
    rules, in_channels = [], 3
    for i, channels in enumerate(spec.d_widths):
        convolutions = [("conv1", "conv1"), ("conv2", "conv2")]
        if i < spec.d_halvings or channels != in_channels:
            convolutions.append(("shortcut", "conv_sc"))
        for ours, theirs in convolutions:
            rules += _convolution(f"block_{i}/{ours}", f"blocks.{i}.0.{theirs}")
        if discriminator_side(spec, i) in spec.d_attention:
            rules += _attention(f"attention_{i}", f"blocks.{i}.1")
        in_channels = channels
    rules.append(Rule("linear/kernel", "linear.weight", TRANSPOSED))
    rules += [Rule("linear/bias", "linear.bias"), Rule("linear/u", "linear.u0")]
    rules.append(Rule("class_projection/embeddings", "embed.weight"))
    return [*rules, Rule("class_projection/u", "embed.u0")]


def discriminator_side(spec: GanSpec, block: int) -> int:
    """Side of the feature map that a block of the discriminator puts out."""
    return spec.resolution // 2 ** min(block + 1, spec.d_halvings)


def ignored(names) -> dict[str, str]:
    """Reasons for the tensors that no rule reads, by name."""
    return {name: IGNORED[last] for name in names if (last := name.split(".")[-1]) in IGNORED}


def _convolution(target, source, use_bias=True):
    rules = [Rule(f"{target}/kernel", f"{source}.weight", OIHW)]
    rules += [Rule(f"{target}/bias", f"{source}.bias")] if use_bias else []
    return [*rules, Rule(f"{target}/u", f"{source}.u0")]


def _attention(target, source):
    rules = [Rule(f"{target}/gain", f"{source}.gamma")]
    for part in _ATTENTION:
        rules += _convolution(f"{target}/{part}", f"{source}.{part}", use_bias=False)
    return rules


def _norm(target, source, spec, statistics):
    rules = _statistics(target, source, spec, statistics)
    for ours, theirs in (("scale", "gain"), ("shift", "bias")):
        if spec.shared_dim:
            rules.append(Rule(f"{target}/{ours}/kernel", f"{source}.{theirs}.weight", TRANSPOSED))
            rules.append(Rule(f"{target}/{ours}/u", f"{source}.{theirs}.u0"))
        else:
            rules.append(Rule(f"{target}/{ours}_table", f"{source}.{theirs}.weight"))
    return rules


def _statistics(target, source, spec, statistics):
    layout = LAST_ROW if spec.truncation_grid else SAME
    names = zip(("moving_mean", "moving_variance"), STATISTICS[statistics], strict=True)
    return [Rule(f"{target}/{ours}", f"{source}.{theirs}", layout) for ours, theirs in names]


def _one_row_only(x):
    raise ValueError(f"expected statistics for each truncation, got {x.shape}")


# A file holds one set of statistics, and the last level of a truncation grid is full truncation.
LAST_ROW = Layout("last level of truncation", _one_row_only, lambda x: x[-1])


def _first_linear(channels, side):
    """Outputs are (C, y, x) there and (y, x, C) here, in weight, bias and singular vector alike."""

    def last(x):  # [..., C y x] -> [..., y x C]
        return x.reshape(*x.shape[:-1], channels, -1).swapaxes(-1, -2).reshape(x.shape)

    def first(x):
        return x.reshape(*x.shape[:-1], -1, channels).swapaxes(-1, -2).reshape(x.shape)

    name = f"({channels}, {side}, {side}) to ({side}, {side}, {channels})"
    along = Layout(name, last, first)
    kernel = Layout(f"{name}, transposed", lambda x: last(x.T), lambda x: first(x).T)
    return [
        Rule("linear/kernel", "linear.weight", kernel),
        Rule("linear/bias", "linear.bias", along),
        Rule("linear/u", "linear.u0", along),
    ]
