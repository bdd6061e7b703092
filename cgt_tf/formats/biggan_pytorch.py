"""Weights of BigGAN-PyTorch (github.com/ajbrock/BigGAN-PyTorch), read and written.

A `.pth` file holds one network's tensors and no settings. Width, classes, resolution, latent,
embedding and attention follow from names and shapes; the epsilons do not, and the published
settings' are assumed where none are given.
"""

import collections
from pathlib import Path

import numpy as np
from keras import ops

from cgt_tf.errors import InputError
from cgt_tf.files import sha256, staged_directory
from cgt_tf.formats import biggan_pytorch_file as pth_file
from cgt_tf.formats import biggan_pytorch_rules as tables
from cgt_tf.formats import biggan_pytorch_spec as specs
from cgt_tf.formats.assign import Rule, assign
from cgt_tf.formats.imported import Imported
from cgt_tf.layers.spectral import power_step
from cgt_tf.networks.gan import Gan, create_discriminator, create_generator
from cgt_tf.networks.spec import GanSpec
from cgt_tf.networks.weights import by_name


def read_pth(
    path: str | Path, bn_eps: float | None = None, sn_eps: float | None = None
) -> Imported:
    """Reads one network's file: `G.pth`, `G_ema.pth` or `D.pth`.

    The classes have no names in the file. BigGAN-PyTorch numbers the folders of its data in sorted
    order, which for ImageNet is that of the WordNet ids.

    Args:
        path: Path of the file; nothing in it is run.
        bn_eps, sn_eps: Epsilons of the training; default: 1e-5, and 1e-8 for the CIFAR form
            (32x32 without a shared embedding), else 1e-6. The output norm always has 1e-5.

    Returns:
        The generator or the discriminator. The other network's fields of the spec are those of the
        published network that goes with it, as far as there is one.

    Raises:
        InputError: torch is not installed; no such file; not tensors alone; not such a network.
    """
    path = Path(path)
    tensors = pth_file.read_tensors(path)
    shapes = specs.Shapes(tensors, str(path))
    kind = specs.network_kind(shapes)
    notes = []
    if kind == "generator":
        style = specs.statistics_style(shapes)
        spec = specs.generator_spec(shapes, bn_eps, sn_eps)
        rules = tables.generator_rules(spec, style)
        if style == "mybn":
            tensors, notes = _divided_statistics(tensors, rules, str(path))
        network = create_generator(spec)
        notes.append(f"{path.name} is a generator: the discriminator is in a file of its own")
    else:
        spec = specs.discriminator_spec(shapes, sn_eps)
        rules = tables.discriminator_rules(spec)
        network = create_discriminator(spec)
    ignored = tables.ignored(tensors.keys() - {rule.source for rule in rules})
    report = assign(network, tensors, rules, ignored, str(path))
    return Imported(
        spec,
        **{kind: network},
        report=report,
        notes=notes + _assumptions(spec, kind, bn_eps, sn_eps),
        provenance={
            "file": path.name,
            "sha256": sha256(Path(path)),
            "kind": f"BigGAN-PyTorch {kind}",
            "torch": str(pth_file.import_torch().__version__),
        },
    )


def _assumptions(spec, kind, bn_eps, sn_eps):
    notes = []
    if bn_eps is None and kind == "generator":
        notes.append(f"the file does not say its batch-norm epsilon: {spec.bn_eps:g} is assumed")
    if sn_eps is None:
        notes.append(f"the file does not say its spectral-norm epsilon: {spec.sn_eps:g} is assumed")
    return notes


def _divided_statistics(tensors, rules, origin):
    """Standing statistics are kept as sums, next to the number of batches they were taken over."""
    tensors, counts = dict(tensors), set()
    for rule in rules:
        norm, _, last = rule.source.rpartition(".")
        counter = f"{norm}.accumulation_counter"
        if not last.startswith("stored_") or rule.source not in tensors or counter not in tensors:
            continue
        if tensors[counter].size != 1 or not np.isfinite(tensors[counter]).all():
            raise InputError(
                f"expected one number at {counter} in {origin}, got {tensors[counter]}"
            )
        count = float(tensors[counter].item())
        if count > 0:
            tensors[rule.source] = (tensors[rule.source] / count).astype(np.float32)
            counts.add(count)
    if not counts:
        return tensors, []
    shown = ", ".join(f"{count:g}" for count in sorted(counts))
    return tensors, [f"batch statistics were accumulated over {shown} batches and divided by that"]


def write_pth(gan: Gan, directory: str | Path) -> list[Path]:
    """Writes `G.pth`, and `D.pth` where there is a discriminator, as BigGAN-PyTorch loads them.

    Names, order, shapes and types are those of its own files (`load_state_dict(strict=True)`).
    `export_notes` says what the files cannot hold.

    Args:
        gan: A source GAN.
        directory: New or empty; written all or nothing.

    Returns:
        The files.

    Raises:
        InputError: networks that BigGAN-PyTorch does not have, no torch, or a directory that is
            there and not empty.
    """
    directory = Path(directory)
    specs.check_writable(gan.spec, gan.discriminator is not None)
    torch = pth_file.import_torch()
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError(f"expected a new directory for the .pth files, got {directory}")
    files = {"G.pth": _state(gan.generator, tables.generator_rules(gan.spec))}
    if gan.discriminator is not None:
        files["D.pth"] = _state(gan.discriminator, tables.discriminator_rules(gan.spec))
    with staged_directory(directory) as staging:
        for name, state in files.items():
            tensors = ((key, torch.from_numpy(value)) for key, value in state.items())
            torch.save(collections.OrderedDict(tensors), staging / name)
    return [directory / name for name in files]


def export_notes(spec: GanSpec) -> list[str]:
    """What a user of `write_pth`'s files should know, one sentence each."""
    notes = [
        f"the files do not say their epsilons: give BigGAN-PyTorch --BN_eps {spec.bn_eps:g} "
        f"--SN_eps {spec.sn_eps:g}"
    ]
    output_bn_eps = spec.bn_eps if spec.output_bn_eps is None else spec.output_bn_eps
    if output_bn_eps != specs.BN_EPS:
        notes.append(
            f"BigGAN-PyTorch's output norm always has epsilon {specs.BN_EPS:g}, this one's has "
            f"{output_bn_eps:g}: images differ slightly"
        )
    if spec.truncation_grid:
        notes.append(
            "a .pth file holds one set of batch statistics: those of truncation "
            f"{spec.truncation_grid[-1]:g} were written"
        )
    return [*notes, "a .pth file does not name its classes"]


def _state(network, rules: list[Rule]) -> dict[str, np.ndarray]:
    """BigGAN-PyTorch's tensors of a network, by name and in its order."""
    variables = by_name(network)
    targets = {rule.target for rule in rules}
    if variables.keys() != targets:
        raise InputError(
            "expected the network of a source GAN to write as .pth, got one with other variables: "
            f"{', '.join(sorted(variables.keys() ^ targets)[:3])}"
        )
    arrays = {
        rule.source: np.array(
            rule.layout.write(ops.convert_to_numpy(variables[rule.target])), np.float32, order="C"
        )
        for rule in rules
    }
    state = {}
    for name, array in arrays.items():
        state[name] = array
        layer, _, last = name.rpartition(".")
        if last == "u0":
            weight = arrays[f"{layer}.weight"]
            sigma, _ = power_step(weight.reshape(len(weight), -1).T, array, network.spec.sn_eps)
            state[f"{layer}.sv0"] = ops.convert_to_numpy(sigma).reshape(1)
    return state
