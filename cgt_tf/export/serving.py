"""The signatures of an exported generator, and the latents that its seeds stand for.

Everything here is traced into a TensorFlow graph, checks of the input included, so that a server
without this package answers, and refuses, as this package does.
"""

import tensorflow as tf

from cgt_tf.data.pipeline import to_uint8
from cgt_tf.export.stored import StoredWeights
from cgt_tf.latents import latents_from_seeds
from cgt_tf.networks.extended import ExtendedGenerator
from cgt_tf.networks.spec import GanSpec


class GeneratorModule(tf.Module):
    """What a SavedModel holds besides its signatures: variables and the class names' file.

    Args:
        weights: What is stored.
        class_names_file: Path of a text file, which becomes an asset of the SavedModel.
    """

    def __init__(self, weights: StoredWeights, class_names_file: str):
        super().__init__(name="cgt_tf_generator")
        # Plain tf.Variables, not the Keras model: loading must not ask for Keras.
        self.generator_variables = weights.variables
        self.class_names_file = tf.saved_model.Asset(class_names_file)


def make_signatures(
    extended: ExtendedGenerator, weights: StoredWeights
) -> dict[str, tf.types.experimental.ConcreteFunction]:
    """Traced signatures by name; B is free in all of them, and the first axis of every tensor.

    Out-of-range labels, a truncation outside (0, 1], vectors of different lengths, and latents or
    weights that make no finite image raise `tf.errors.InvalidArgumentError`.

    Args:
        extended: The generator.
        weights: Its weights as they are stored, which the signatures read.
    """
    spec = extended.spec
    images_from_latents, images_from_seeds = _image_functions(extended, weights)

    def serving_default(label, seed):
        label, seed = _after(_label_checks(label, spec, seed=seed), label, seed)
        weights = tf.one_hot(label, spec.num_classes)
        z = latents_from_seeds(seed, spec.dim_z)
        return {"image": to_uint8(images_from_latents(weights, z, _untruncated(z)))}

    def truncated(label, seed, truncation):
        return {"image": images_from_seeds(label, seed, truncation)}

    def from_latent(label, z):
        checks = [*_label_checks(label, spec, z=z), _width_check(z, "z", spec.dim_z)]
        label, z = _after(checks, label, z)
        weights = tf.one_hot(label, spec.num_classes)
        return {"image": images_from_latents(weights, z, _untruncated(z))}

    def mix(class_weights, z):
        refused = tf.debugging.Assert(extended.mixes, [f"mix: {extended.no_mixture}"])
        checks = [
            refused,
            _rows_check(class_weights=class_weights, z=z),
            _width_check(class_weights, "class_weights", spec.num_classes),
            _weights_check(class_weights),
            _width_check(z, "z", spec.dim_z),
        ]
        class_weights, z = _after(checks, class_weights, z)
        return {"image": images_from_latents(class_weights, z, _untruncated(z))}

    def png(label, seed, truncation):
        return {"image_bytes": tf.io.encode_png(images_from_seeds(label, seed, truncation))}

    def labels(label):
        (label,) = _after([_range_check(label, spec)], label)
        return {"name": tf.gather(tf.constant(extended.class_names), label)}

    class_weights, z, label, seed, truncation = _input_specs(spec)
    inputs = {
        serving_default: (label, seed),
        truncated: (label, seed, truncation),
        from_latent: (label, z),
        mix: (class_weights, z),
        png: (label, seed, truncation),
        labels: (label,),
    }
    return {
        function.__name__: tf.function(function, autograph=False).get_concrete_function(*specs)
        for function, specs in inputs.items()
    }


def _input_specs(spec: GanSpec) -> tuple[tf.TensorSpec, ...]:
    return (
        tf.TensorSpec([None, spec.num_classes], tf.float32, "class_weights"),
        tf.TensorSpec([None, spec.dim_z], tf.float32, "z"),
        tf.TensorSpec([None], tf.int64, "label"),
        tf.TensorSpec([None], tf.int64, "seed"),
        tf.TensorSpec([None], tf.float32, "truncation"),
    )


def _image_functions(extended: ExtendedGenerator, stored: StoredWeights):
    """Images of weights and latents, and of labels and seeds; traced once for all signatures."""
    spec = extended.spec
    weights_spec, z_spec, *seed_specs = _input_specs(spec)
    truncation_spec = seed_specs[-1]

    @tf.function(input_signature=[weights_spec, z_spec, truncation_spec], autograph=False)
    def images_from_latents(weights, z, truncation):
        with stored.in_use():
            images, _ = extended.generator(z, weights, truncation=truncation)
        images = tf.cast(images, tf.float32)
        images = tf.ensure_shape(images, [None, spec.resolution, spec.resolution, 3])
        return tf.debugging.check_numerics(images, "expected inputs that make finite images; image")

    @tf.function(input_signature=seed_specs, autograph=False)
    def images_from_seeds(label, seed, truncation):
        in_range = tf.debugging.Assert(
            tf.reduce_all((truncation > 0.0) & (truncation <= 1.0)),
            ["truncation: expected numbers in (0, 1], got", truncation],
            summarize=16,
        )
        checks = [
            in_range,
            *_label_checks(label, spec, seed=seed),
            _rows_check(label=label, truncation=truncation),
        ]
        label, seed, truncation = _after(checks, label, seed, truncation)
        z = latents_from_seeds(seed, spec.dim_z, truncation)
        weights = tf.one_hot(label, spec.num_classes)
        return to_uint8(images_from_latents(weights, z, truncation))

    return images_from_latents, images_from_seeds


def _untruncated(z):
    """The truncation of batch-norm statistics behind plain normals, or latents of the caller's."""
    return tf.ones(tf.shape(z)[:1])


def _after(checks, *tensors):
    """The tensors, once all checks have passed.

    A data edge, because control edges into a function call are lost on its stateless operations
    when the call is inlined: one of these could then fail first, with a message of its own.
    """
    with tf.control_dependencies(checks):
        return [tf.identity(tensor) for tensor in tensors]


def _label_checks(label, spec: GanSpec, **other):
    return [_range_check(label, spec), _rows_check(label=label, **other)]


def _range_check(label, spec: GanSpec):
    return tf.debugging.Assert(
        tf.reduce_all((label >= 0) & (label < spec.num_classes)),
        [f"label: expected integers in [0, {spec.num_classes - 1}], got", label],
        summarize=16,
    )


def _rows_check(**tensors):
    """Without it a batch of 1 would be repeated to the length of the other tensor."""
    (name, tensor), (other_name, other) = tensors.items()
    rows, other_rows = tf.shape(tensor)[0], tf.shape(other)[0]
    return tf.debugging.Assert(
        (rows > 0) & tf.equal(rows, other_rows),
        [f"expected as many rows of {name} as of {other_name}, at least 1, got", rows, other_rows],
    )


def _weights_check(weights):
    # Written so that what is not a number fails.
    sums = tf.reduce_sum(weights, axis=1)
    fits = tf.reduce_all(weights >= 0.0) & tf.reduce_all(sums > 0.0)
    return tf.debugging.Assert(
        fits, ["class_weights: expected rows of numbers >= 0, not all 0, got", weights]
    )


def _width_check(tensor, name: str, width: int):
    # A loaded signature takes any shape of the right rank, whatever the traced one says.
    given = tf.shape(tensor)[1]
    return tf.debugging.Assert(
        tf.equal(given, width), [f"{name}: expected rows of {width} numbers, got", given]
    )
