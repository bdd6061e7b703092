"""Writes a generator as one file that TFLite's or ONNX's runtime runs, without TensorFlow.

    <directory>/model.tflite or model.onnx, class_names.txt, model_card.json, and
    nearest.png of a run

Either maps label int64 [B] and z float32 [B, dim_z] to image float32 [B, R, R, 3] in [-1, 1]. It is
converted from the SavedModel's signature `from_latent`, of which the checks of the input are lost:
a label out of range gives an image of no class, and ONNX counts negative ones from the end. There
are no seeds, because no other runtime has TensorFlow's random numbers: the caller draws latents,
standard normals.
"""

import dataclasses
import importlib.util
import logging
import re
import warnings
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from cgt_tf.data.pipeline import to_uint8
from cgt_tf.errors import InputError
from cgt_tf.export.card import Weights, write_card
from cgt_tf.export.difference import GREY_LEVELS, Images, largest_difference
from cgt_tf.export.saved_model import BrokenExportError
from cgt_tf.export.serving import make_signatures
from cgt_tf.export.stored import StoredWeights
from cgt_tf.files import staged_directory
from cgt_tf.latents import latents_from_seeds
from cgt_tf.networks.extended import ExtendedGenerator

SAMPLES = 32  # That the written file is checked with.
_TOLERANCE = 1e-3 * GREY_LEVELS
_OPSET = 18  # Of ONNX, of 2022: newer ones bring nothing that is used.

Signature = tf.types.experimental.ConcreteFunction


@dataclasses.dataclass(frozen=True)
class Form:
    """A format of one file.

    Attributes:
        file: The file's name.
        needs: Modules that this package does not require; the extra of the form's name has them.
        convert: The file's bytes, of a signature and what its variables are held by.
        load: Images float32 [B, R, R, 3] of latents and labels, by the bytes of the file.
    """

    file: str
    needs: tuple[str, ...]
    convert: Callable[[Signature, tf.Module], bytes]
    load: Callable[[bytes], Images]


def check_form(form: str, directory: str | Path) -> None:
    """`InputError` where packages that a form needs are missing, or something is in its place."""
    missing = [name for name in FORMS[form].needs if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"expected {' and '.join(FORMS[form].needs)} for --format={form}: pip install "
            f"'cgt_tf[{form}]'; missing: {', '.join(missing)}"
        )
    path = Path(directory)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"expected a new directory for the model, got {directory}")


def export_one_file(
    extended: ExtendedGenerator, directory: str | Path, form: str, told: Mapping[str, Any]
) -> Path:
    """Writes a generator in a form of `FORMS` with a model card, all or nothing.

    The card's `largest_difference` is the one between 32 images of the file and of the SavedModel's
    signature.

    Args:
        extended: Old and new classes, folded.
        directory: New, or empty.
        form: `tflite` or `onnx`.
        told: See `card.write_card`.

    Returns:
        The directory.

    Raises:
        InputError: packages are missing, the directory is not empty, or the generator has an
            operation that the form lacks.
        BrokenExportError: images differ by more than 1e-3 from the SavedModel's, in [-1, 1].
    """
    check_form(form, directory)
    weights = StoredWeights(extended)
    signature = make_signatures(extended, weights)["from_latent"]
    holder = tf.Module()
    holder.variables_of_the_generator = weights.variables
    data = FORMS[form].convert(signature, holder)
    images = FORMS[form].load(data)

    def wanted(z, labels):
        return signature(label=tf.constant(labels, tf.int64), z=z)["image"]

    moved = largest_difference(extended.spec, wanted, images, SAMPLES)
    # Written so that NaN fails.
    if not moved <= _TOLERANCE:
        raise BrokenExportError(
            f"expected images of {FORMS[form].file} to be the SavedModel's, they differ by "
            f"{moved:g} of 255 grey levels (allowed: {_TOLERANCE:g}); nothing was written"
        )

    def sample(labels, seeds):
        z = latents_from_seeds(seeds, extended.spec.dim_z).numpy()
        return to_uint8(images(z, labels)).numpy()

    target = Path(directory)
    with staged_directory(target) as staging:
        (staging / FORMS[form].file).write_bytes(data)
        names = "".join(f"{name}\n" for name in extended.class_names)
        (staging / "class_names.txt").write_text(names, encoding="utf-8")
        write_card(extended, staging, told, Weights(largest_difference=moved), sample)
    return target


def _to_tflite(signature: Signature, holder: tf.Module) -> bytes:
    # No public name: what TensorFlow's converter raises, whatever the reason.
    from tensorflow.lite.python.convert_phase import ConverterError

    converter = tf.lite.TFLiteConverter.from_concrete_functions([signature], holder)
    try:
        return converter.convert()
    except ConverterError as error:
        names = set(re.findall(r"'tf\.(\w+)' op", str(error)))
        if names:
            raise _unmapped("tflite", names) from error
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"expected a generator that TFLite can run: {reason}") from error


def _load_tflite(data: bytes) -> Images:
    with warnings.catch_warnings():
        # It still runs what TensorFlow's own converter writes; LiteRT would be a further package.
        warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter is deprecated")
        runner = tf.lite.Interpreter(model_content=data).get_signature_runner()
    return lambda z, labels: runner(
        label=np.asarray(labels, np.int64), z=np.asarray(z, np.float32)
    )["image"]


def _to_onnx(signature: Signature, holder: tf.Module) -> bytes:
    del holder  # The variables become constants.
    import onnx
    import tf2onnx

    # What it cannot map it logs, and goes on; it is said below, in one line.
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    specs, _ = signature.structured_input_signature
    function = tf.function(lambda label, z: signature(label=label, z=z), autograph=False)
    model, _ = tf2onnx.convert.from_function(function, specs, opset=_OPSET)
    unmapped = {
        node.op_type for node in model.graph.node if not onnx.defs.has(node.op_type, node.domain)
    }
    if unmapped:
        raise _unmapped("onnx", unmapped)
    return model.SerializeToString()


def _load_onnx(data: bytes) -> Images:
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])

    def images(z, labels):
        given = {"label": np.asarray(labels, np.int64), "z": np.asarray(z, np.float32)}
        return session.run(["image"], given)[0]

    return images


def _unmapped(form: str, names: Set[str]) -> InputError:
    return InputError(
        f"expected a generator of operations that {form} has, got {', '.join(sorted(names))}; "
        "--format=saved_model has them all"
    )


FORMS = {
    "tflite": Form("model.tflite", (), _to_tflite, _load_tflite),
    "onnx": Form("model.onnx", ("tf2onnx", "onnxruntime"), _to_onnx, _load_onnx),
}
