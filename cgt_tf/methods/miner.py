"""The miner of `methods.minegan`: its layers as they are trained, their starts, their folding."""

import numpy as np
from keras import ops

from cgt_tf.layers.class_dense import ClassDense
from cgt_tf.layers.mixed import MixedLayer
from cgt_tf.networks.mined import AffineMiner, class_input
from cgt_tf.networks.spec import GanSpec

LAYERS = 4
# Of the identity's last class layer: how far class vectors of one label are apart at first.
_GAIN = 0.02
# Share of the rows that class weights start at; the others have the rest.
_SHARE = 0.9


class Miner(MixedLayer):
    """Two chains of four linear layers with bias: z' and what stands for the class, both from z.

    Args:
        spec: Spec of the mined generator: M labels.
        classes: `each`: a miner a label; `given`: one, which sees the label beside z, one-hot;
            `none`: one for all labels.
        relu: Between the layers; the released miner for BigGAN has none and is affine.
        spectral_norm: Spectral norm of all layers.
        free_vectors: Leaves it out of the last class layer.
        fixed_class: One class vector for all labels, which is set and not trained, instead of the
            second chain.

    Call arguments:
        z: float32 [B, dim_z].
        weights: of the labels, one-hot rows float32 [B, M].
        training: move the power vectors.

    Returns:
        `(z' [B, dim_z], ClassInput)`.
    """

    def __init__(
        self,
        spec: GanSpec,
        *,
        classes="each",
        relu=False,
        spectral_norm=True,
        free_vectors=False,
        fixed_class=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.spec = spec
        self.classes = classes
        self.relu = relu
        self.count = spec.num_classes if classes == "each" else 1

        def chain(name, width, free=False):
            widths = [*[spec.dim_z] * (LAYERS - 1), width]
            last = LAYERS - 1
            return [
                ClassDense(
                    self.count,
                    units,
                    spectral_norm=spectral_norm and not (free and i == last),
                    sn_eps=spec.sn_eps,
                    name=f"{name}_{i}",
                )
                for i, units in enumerate(widths)
            ]

        self.latent = chain("latent", spec.dim_z)
        self.vector = [] if fixed_class else chain("class", spec.class_width, free_vectors)

    def build(self, z_shape):
        first = z_shape[-1] + (self.spec.num_classes if self.classes == "given" else 0)
        for chain in (self.latent, self.vector):
            for i, layer in enumerate(chain):
                layer.build((None, z_shape[-1] if i else first))
        if not self.vector:
            self.fixed = self.add_weight(
                name="fixed", shape=(self.spec.class_width,), initializer="zeros", trainable=False
            )

    def call(self, z, weights, training=False):
        x = ops.concatenate([z, weights], axis=-1) if self.classes == "given" else z
        rows = weights if self.classes == "each" else ops.ones_like(weights[:, :1])
        latent = self._through(self.latent, x, rows, training)
        if self.vector:
            return latent, class_input(self.spec, self._through(self.vector, x, rows, training))
        vector = ops.ones_like(z[:, :1]) * self.fixed
        return latent, class_input(self.spec, vector)

    def _through(self, chain, x, rows, training):
        for i, layer in enumerate(chain):
            x = layer(ops.relu(x) if i and self.relu else x, rows, training=training)
        return x

    def fold_into(self, folded: AffineMiner) -> None:
        """Divides by the spectral norms, and multiplies the layers where nothing is between."""
        for name, chain in (("latent", self.latent), ("class", self.vector)):
            maps = self._maps(chain) if chain else self._constant()
            if not self.spec.miner_layers:
                maps = [_product(maps)]
            for variables, values in zip(folded.maps(name), maps, strict=True):
                for variable, value in zip(variables, values, strict=True):
                    variable.assign(value)

    def _maps(self, chain) -> list[tuple[np.ndarray, np.ndarray]]:
        """Kernels [M, d, e] and biases [M, e] of a chain, a label each."""
        labels, dim, maps = self.spec.num_classes, self.spec.dim_z, []
        for layer in chain:
            kernel = ops.convert_to_numpy(layer.normalized_kernel())
            bias = ops.convert_to_numpy(layer.bias)
            if self.classes == "given" and not maps:
                bias, kernel = bias + kernel[0, dim:], kernel[:, :dim]
            kernel = np.broadcast_to(kernel, (labels, *kernel.shape[1:]))
            maps.append((kernel, np.broadcast_to(bias, (labels, bias.shape[-1]))))
        return maps

    def _constant(self):
        labels, dim, width = self.spec.num_classes, self.spec.dim_z, self.spec.class_width
        hidden = (np.zeros((labels, dim, dim)), np.zeros((labels, dim)))
        vector = np.broadcast_to(ops.convert_to_numpy(self.fixed), (labels, width))
        return [*[hidden] * (LAYERS - 1), (np.zeros((labels, dim, width)), vector)]


def _product(maps):
    """Affine maps one after the other, as one."""
    kernel, bias = maps[0]
    for matrix, offset in maps[1:]:
        kernel = kernel @ matrix
        bias = (bias[:, None] @ matrix)[:, 0] + offset
    return kernel, bias


def set_start(miner: Miner, start: str, rng: np.random.Generator) -> None:
    """First values of the layers.

    Args:
        miner: Built.
        start: `default`: weights and biases U(+-1/sqrt(fan-in)), with which the released launch
            starts; `orthogonal`: orthogonal weights and such biases, which the released code
            announces; `identity` (ours): z' = z, and class vectors within a small random map of z
            of those that `set_vectors` gives.
        rng: Generator of the draws.
    """
    for chain in (miner.latent, miner.vector):
        for i, layer in enumerate(chain):
            count, fan_in, units = layer.kernel.shape
            limit = fan_in**-0.5
            bias = rng.uniform(-limit, limit, layer.bias.shape)
            kernel = rng.uniform(-limit, limit, layer.kernel.shape)
            if start == "orthogonal":
                kernel = np.stack([_orthogonal(fan_in, units, rng) for _ in range(count)])
            if start == "identity":
                bias = np.zeros(layer.bias.shape)
                kernel = np.broadcast_to(np.eye(fan_in, units), layer.kernel.shape)
                if chain is miner.vector and i == LAYERS - 1:
                    kernel = _GAIN * np.stack(
                        [_orthogonal(fan_in, units, rng) for _ in range(count)]
                    )
            layer.kernel.assign(kernel)
            layer.bias.assign(bias)


def _orthogonal(rows: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(rng.normal(size=(max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))
    return q if rows >= columns else q.T


def set_vectors(miner: Miner, table: np.ndarray | None, classes: list[np.ndarray]) -> None:
    """Puts the class vectors of a miner's start `identity` at means of old ones.

    Args:
        miner: Miner whose last class layer's bias is set.
        table: The old classes' vectors [N, s]; None where a miner gives logits of weights.
        classes: Indices of the old classes that are averaged, for each miner of the layer.
    """
    rows = miner.spec.rows
    biases = []
    for chosen in classes:
        if table is not None:
            biases.append(table[chosen].mean(axis=0))
            continue
        weights = np.full(rows, (1 - _SHARE) / rows)
        weights[chosen] += _SHARE / len(chosen)
        biases.append(np.log(weights))
    miner.vector[-1].bias.assign(np.stack(biases))
