"""Requests that TensorFlow Serving runs while it loads a version, so that no user waits for them.

    <version>/assets.extra/tf_serving_warmup_requests

TFRecords of `PredictionLog`, one for each signature and allowed batch size; a server takes at most
1,000 and fails to load the version where one of them fails.
"""

from pathlib import Path

import tensorflow as tf

from cgt_tf.export.kit import ALLOWED_BATCH_SIZES
from cgt_tf.networks.extended import ExtendedGenerator

FILE = "assets.extra/tf_serving_warmup_requests"
_TRUNCATION = 0.5


def write_warm_up(extended: ExtendedGenerator, directory: Path, name: str) -> bool:
    """Writes the requests into a version's directory.

    Args:
        extended: Generator whose signatures `directory` holds.
        directory: Directory of the version.
        name: Name of the model, as the server knows it.

    Returns:
        False, and nothing is written, without the package tensorflow-serving-api.
    """
    try:
        from tensorflow_serving.apis import predict_pb2, prediction_log_pb2
    except ImportError:
        return False
    path = directory / FILE
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, names in _inputs(extended).items():
            for rows in ALLOWED_BATCH_SIZES:
                request = predict_pb2.PredictRequest()
                request.model_spec.name = name
                request.model_spec.signature_name = signature
                tensors = _tensors(extended, rows)
                for name_of_input in names:
                    proto = tf.make_tensor_proto(tensors[name_of_input])
                    request.inputs[name_of_input].CopyFrom(proto)
                log = prediction_log_pb2.PredictLog(request=request)
                record = prediction_log_pb2.PredictionLog(predict_log=log)
                writer.write(record.SerializeToString())
    return True


def _inputs(extended: ExtendedGenerator) -> dict[str, tuple[str, ...]]:
    """Names of the inputs of each signature that does not refuse every request."""
    signatures = {
        "serving_default": ("label", "seed"),
        "truncated": ("label", "seed", "truncation"),
        "from_latent": ("label", "z"),
        "png": ("label", "seed", "truncation"),
        "labels": ("label",),
    }
    return signatures | ({"mix": ("class_weights", "z")} if extended.mixes else {})


def _tensors(extended: ExtendedGenerator, rows: int) -> dict[str, tf.Tensor]:
    spec = extended.spec
    numbers = tf.range(rows, dtype=tf.int64)
    label = numbers % spec.num_classes
    return {
        "label": label,
        "seed": numbers,
        "truncation": tf.fill([rows], _TRUNCATION),
        "z": tf.zeros([rows, spec.dim_z]),
        "class_weights": tf.one_hot(label, spec.num_classes),
    }
