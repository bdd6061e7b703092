"""BigGAN's equations in plain PyTorch functions, straight from a file's tensors.

A second way to the same numbers that shares no code with the Keras networks or the rule tables: it
reads the tensors by their names in the file. Inference only. Brock et al. (2019), appendix B.
"""

import functools
from pathlib import Path

import numpy as np

from cgt_tf.errors import InputError
from cgt_tf.formats.biggan_pytorch_file import import_torch, read_tensors
from cgt_tf.formats.imported import Imported

_OUTPUT_EPS = 1e-5  # of the output norm, whatever the file was trained with
_SAMPLES = 2


def verify_pth(path: str | Path, imported: Imported, z=None, y=None) -> list[tuple[str, float]]:
    """Compares an imported network with the equations, block by block.

    Args:
        path: The file that `imported` was read from.
        imported: `read_pth`'s result; its spec's epsilons are used.
        z: Generator: latents float [B, dim_z]; discriminator: images float [B, R, R, 3]. Default:
            two fixed draws.
        y: Labels int [B]; default: 0, 1, ...

    Returns:
        `(name, largest |difference|)` for each feature map and the output, in network order.

    Raises:
        InputError: a file that cannot be read, or one of another kind than `imported`.
    """
    spec, kind = imported.spec, "discriminator" if imported.generator is None else "generator"
    state = read_tensors(path)
    if (kind == "generator") != ("output_layer.2.weight" in state):
        raise InputError(f"expected a {kind} at {path} to compare with")
    draw = np.random.default_rng(0)
    if z is None and kind == "generator":
        z = draw.standard_normal((_SAMPLES, spec.dim_z))
    elif z is None:
        z = draw.uniform(-1, 1, (_SAMPLES, spec.resolution, spec.resolution, 3))
    z = np.asarray(z, np.float32)
    y = np.arange(len(z)) % spec.num_classes if y is None else np.asarray(y)
    if kind == "generator":
        expected = generator_outputs(state, z, y, bn_eps=spec.bn_eps, sn_eps=spec.sn_eps)
        images, found = imported.generator(z, y)
        found = {**found, "images": images}
    else:
        expected = discriminator_outputs(state, z, y, sn_eps=spec.sn_eps)
        logits, found = imported.discriminator(z, y)
        found = {**found, "logits": logits}
    return [
        (name, float(np.abs(np.asarray(found[name]) - value).max()))
        for name, value in expected.items()
    ]


def _without_gradients(function):
    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        with import_torch().no_grad():
            return function(*args, **kwargs)

    return wrapped


class _Weights:
    """Tensors of one file; `weight` divides by the spectral norm where a layer has one."""

    def __init__(self, state, sn_eps):
        torch = import_torch()
        self.tensors = {name: torch.from_numpy(np.array(value)) for name, value in state.items()}
        self.sn_eps = sn_eps

    def __contains__(self, name):
        return name in self.tensors

    def __getitem__(self, name):
        return self.tensors[name]

    def weight(self, layer):
        """W / (u' W v), with v and u' of one power step from the stored left vector u."""
        weight = self[f"{layer}.weight"]
        if f"{layer}.u0" not in self:
            return weight
        matrix = weight.flatten(1)
        right = self._unit(matrix.T @ self[f"{layer}.u0"][0])
        left = self._unit(matrix @ right)
        return weight / (left @ matrix @ right)

    def _unit(self, vector):
        return vector / vector.norm().clamp_min(self.sn_eps)

    def convolve(self, x, layer):
        """Zero-padded convolution that keeps height and width."""
        weight = self.weight(layer)
        functional = import_torch().nn.functional
        return functional.conv2d(
            x, weight, self.tensors.get(f"{layer}.bias"), padding=weight.shape[-1] // 2
        )

    def attend(self, x, layer):
        """x + gamma o(softmax(theta' pool(phi)) pool(g)), over positions."""
        if f"{layer}.gamma" not in self:
            return x
        torch = import_torch()
        pool = functools.partial(torch.nn.functional.max_pool2d, kernel_size=2)
        theta = self.convolve(x, f"{layer}.theta").flatten(2)
        phi = pool(self.convolve(x, f"{layer}.phi")).flatten(2)
        values = pool(self.convolve(x, f"{layer}.g")).flatten(2)
        shares = torch.softmax(torch.einsum("bcq,bck->bqk", theta, phi), dim=-1)
        mixed = torch.einsum("bqk,bck->bcq", shares, values).unflatten(2, x.shape[2:])
        return x + self[f"{layer}.gamma"] * self.convolve(mixed, f"{layer}.o")

    def normalize(self, x, norm, gain, bias, eps):
        """(x - mean) / sqrt(variance + eps) by the stored statistics, times gain plus bias."""
        mean, variance = self._statistics(norm)
        x = (x - mean[:, None, None]) / (variance + eps).sqrt()[:, None, None]
        return x * gain[..., None, None] + bias[..., None, None]

    def _statistics(self, norm):
        if f"{norm}.bn.running_mean" in self:
            return self[f"{norm}.bn.running_mean"], self[f"{norm}.bn.running_var"]
        inner = norm if f"{norm}.stored_mean" in self else f"{norm}.bn"
        batches = self.tensors.get(f"{norm}.bn.accumulation_counter")
        batches = float(batches) if batches is not None and batches > 0 else 1.0
        return self[f"{inner}.stored_mean"] / batches, self[f"{inner}.stored_var"] / batches


@_without_gradients
def generator_outputs(state, z, y, *, bn_eps: float, sn_eps: float) -> dict[str, np.ndarray]:
    """Feature maps of a generator.

    Args:
        state: Its tensors as arrays by name.
        z: float32 [B, dim_z].
        y: int [B].
        bn_eps, sn_eps: Of the conditional norms, and of the power step.

    Returns:
        `linear`, `block_0` ..., `output_norm` (after its relu) and `images`, float32 [B, H, W, C].
    """
    torch = import_torch()
    w, y = _Weights(state, sn_eps), torch.as_tensor(y, dtype=torch.long)
    z = torch.as_tensor(z, dtype=torch.float32)
    width = w["linear.weight"].shape[1]
    first, chunks = z[:, :width], z[:, width:].split(width, dim=1)
    h = first @ w.weight("linear").T + w["linear.bias"]
    h = h.unflatten(1, (-1, 4, 4))
    outputs = {"linear": h}
    for i in range(_count(w)):
        block = f"blocks.{i}.0"
        # Class first, then the block's own chunk of z where there is one.
        condition = None
        if "shared.weight" in w:
            condition = torch.cat([w["shared.weight"][y], *chunks[i : i + 1]], dim=1)

        def modulated(x, norm, condition=condition, block=block):
            gain, bias = (
                _modulation(w, f"{block}.{norm}.{p}", condition, y) for p in ("gain", "bias")
            )
            return w.normalize(x, f"{block}.{norm}", 1 + gain, bias, bn_eps).relu()

        inner = w.convolve(_doubled(modulated(h, "bn1")), f"{block}.conv1")
        inner = w.convolve(modulated(inner, "bn2"), f"{block}.conv2")
        h = w.attend(inner + w.convolve(_doubled(h), f"{block}.conv_sc"), f"blocks.{i}.1")
        outputs[f"block_{i}"] = h
    norm = "output_layer.0"
    h = w.normalize(h, norm, w[f"{norm}.gain"], w[f"{norm}.bias"], _OUTPUT_EPS).relu()
    outputs["output_norm"] = h
    outputs["images"] = w.convolve(h, "output_layer.2").tanh()
    return {name: value.permute(0, 2, 3, 1).numpy() for name, value in outputs.items()}


def _modulation(w, layer, condition, y):
    """Rows of a table by label, or a projection of the condition: [B, C]."""
    return w[f"{layer}.weight"][y] if condition is None else condition @ w.weight(layer).T


def _doubled(x):
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def _count(w):
    return 1 + max(int(name.split(".")[1]) for name in w.tensors if name.startswith("blocks."))


@_without_gradients
def discriminator_outputs(state, images, y, *, sn_eps: float) -> dict[str, np.ndarray]:
    """Feature maps of a discriminator.

    Args:
        state: Its tensors as arrays by name.
        images: float32 [B, R, R, 3] in [-1, 1].
        y: int [B].
        sn_eps: Sn eps of the power step.

    Returns:
        `block_0` ... float32 [B, H, W, C], `features` [B, C], `logits` [B].
    """
    torch = import_torch()
    w, y = _Weights(state, sn_eps), torch.as_tensor(y, dtype=torch.long)
    h = torch.as_tensor(images, dtype=torch.float32).permute(0, 3, 1, 2)
    outputs, blocks = {}, _count(w)
    # Blocks that halve have a convolution in their shortcut, at any width. The last block never
    # halves; one there serves a change of width.
    for i in range(blocks):
        block = f"blocks.{i}.0"
        inner = w.convolve(h if i == 0 else h.relu(), f"{block}.conv1")
        inner = w.convolve(inner.relu(), f"{block}.conv2")
        if f"{block}.conv_sc.weight" in w:
            h = w.convolve(h, f"{block}.conv_sc")
            if i < blocks - 1:
                inner, h = (torch.nn.functional.avg_pool2d(x, 2) for x in (inner, h))
        h = w.attend(inner + h, f"blocks.{i}.1")
        outputs[f"block_{i}"] = h.permute(0, 2, 3, 1).numpy()
    features = h.relu().sum(dim=(2, 3))
    outputs["features"] = features.numpy()
    linear = features @ w.weight("linear").T + w["linear.bias"]
    projection = (w.weight("embed")[y] * features).sum(dim=1)
    outputs["logits"] = (linear[:, 0] + projection).numpy()
    return outputs
