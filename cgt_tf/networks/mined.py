"""Maps of z and class vector for each label, before a generator: what miners fold into."""

from keras import ops

from cgt_tf.layers.class_dense import affine
from cgt_tf.layers.mixed import MixedLayer
from cgt_tf.networks.conditioning import ClassInput
from cgt_tf.networks.selector import Selector, picked
from cgt_tf.networks.spec import GanSpec


class AffineMiner(MixedLayer):
    """z' = z A_y + a_y and a class vector z C_y + c_y, one map for each label y.

    The class vector takes the place of the source's class embedding; of sources without one, it is
    weights of the rows of their class tables, or their logits where the spec has `miner_softmax`.
    With `miner_layers` L, both are chains of L such maps with ReLU in between.

    Args:
        spec: Spec of the generator; K = `num_classes` labels.

    Call arguments:
        z: float32 [B, dim_z].
        weights: of the labels, float32 [B, K]; one-hot rows.

    Returns:
        `(z' [B, dim_z], ClassInput)`.
    """

    def __init__(self, spec: GanSpec, **kwargs):
        super().__init__(**kwargs)
        self.spec = spec
        self._maps = {}

    def build(self, z_shape):
        dim, layers = self.spec.dim_z, self.spec.miner_layers
        for chain, width in (("latent", dim), ("class", self.spec.class_width)):
            names = [f"{chain}_{i}" for i in range(layers)] or [chain]
            widths = [*[dim] * (len(names) - 1), width]
            self._maps[chain] = [self._map(*pair) for pair in zip(names, widths, strict=True)]

    def _map(self, name, width):
        labels, dim = self.spec.num_classes, self.spec.dim_z
        shapes = {"kernel": (labels, dim, width), "bias": (labels, width)}
        for part, shape in shapes.items():
            weight = self.add_weight(name=f"{name}_{part}", shape=shape, initializer="zeros")
            setattr(self, f"{name}_{part}", weight)
        return name

    def maps(self, chain: str) -> list[tuple]:
        """Kernel [K, d, e] and bias [K, e] of each map of `latent` or `class`, in order."""
        names = self._maps[chain]
        return [(getattr(self, f"{n}_kernel"), getattr(self, f"{n}_bias")) for n in names]

    def call(self, z, weights):
        latent = vector = z
        for i, layer in enumerate(self.maps("latent")):
            latent = affine(ops.relu(latent) if i else latent, weights, *layer)
        for i, layer in enumerate(self.maps("class")):
            vector = affine(ops.relu(vector) if i else vector, weights, *layer)
        return latent, class_input(self.spec, vector)


class SelectedMiner(MixedLayer):
    """Several miners of one generator, of which a `Selector` picks one for each z and label.

    Args:
        spec: Spec of the generator; n = `members` miners.

    Call arguments and what is returned: those of `AffineMiner`.
    """

    def __init__(self, spec: GanSpec, **kwargs):
        super().__init__(**kwargs)
        self.members = [AffineMiner(spec, name=f"member_{i}") for i in range(spec.members)]
        self.selector = Selector(spec, name="selector")

    def build(self, z_shape):
        for layer in (*self.members, self.selector):
            layer.build(z_shape)

    def call(self, z, weights):
        choice = self.selector(z, weights)
        latents, given = zip(*(member(z, weights) for member in self.members), strict=True)
        fields = (None if x[0] is None else picked(x, choice) for x in zip(*given, strict=True))
        return picked(latents, choice), ClassInput(*fields)


def class_input(spec: GanSpec, vector) -> ClassInput:
    """What a generator of the spec is given for mined vectors [B, class_width]."""
    if spec.embeds_vectors:
        return ClassInput(embedding=vector)
    return ClassInput(ops.softmax(vector) if spec.miner_softmax else vector)
