"""What is written beside a SavedModel for a server: warm-up, configurations, model card."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf
from export_networks import NEW, OLD
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from PIL import Image

from cgt_tf.export import card, kit, warm_up
from cgt_tf.export.saved_model import export_saved_model

SIGNATURES = {"serving_default", "truncated", "from_latent", "mix", "png", "labels"}


@pytest.fixture(scope="module")
def stubs():
    return pytest.importorskip(
        "tensorflow_serving.apis.prediction_log_pb2", reason="needs tensorflow-serving-api"
    )


def text(base, name):
    return (base / kit.DIRECTORY / name).read_text(encoding="utf-8")


def message_type(name, fields):
    """A message of text format: `fields` are (name, type, whether repeated) or nested messages."""
    proto = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", package="test")
    for wrapper in ("Int64Value", "BoolValue"):
        kind = "TYPE_INT64" if wrapper == "Int64Value" else "TYPE_BOOL"
        proto.message_type.add(name=wrapper).field.add(name="value", number=1, type=kind)
    message = proto.message_type.add(name=name)
    for number, (field, kind) in enumerate(fields.items(), 1):
        if kind == "repeated":
            message.field.add(name=field, number=number, type="TYPE_INT64", label="LABEL_REPEATED")
        else:
            message.field.add(
                name=field, number=number, type="TYPE_MESSAGE", type_name=f".test.{kind}"
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(proto)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"test.{name}"))


def test_each_signature_and_batch_size_has_a_warm_up_request(stubs, base, served):
    """Read back record by record, and run as the server runs them."""
    records = [
        stubs.PredictionLog.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(base / "1" / warm_up.FILE))
    ]
    assert len(records) == len(SIGNATURES) * len(kit.ALLOWED_BATCH_SIZES) <= 1000
    seen = set()
    for record in records:
        assert record.WhichOneof("log_type") == "predict_log"
        request = record.predict_log.request
        assert request.model_spec.name == "glyphs"
        signature = served.signatures[request.model_spec.signature_name]
        specs = signature.structured_input_signature[1]
        tensors = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
        assert {name: array.dtype for name, array in tensors.items()} == {
            name: spec.dtype.as_numpy_dtype for name, spec in specs.items()
        }
        (output,) = signature(**{k: tf.constant(v) for k, v in tensors.items()}).values()
        seen.add((request.model_spec.signature_name, len(output)))
    assert seen == {(name, rows) for name in SIGNATURES for rows in (1, 2, 4, 8)}


def test_a_signature_that_refuses_everything_is_not_warmed_up(stubs, projected, tmp_path):
    extended = projected[2]

    class Unmixed:
        spec, mixes = extended.spec, False

    assert warm_up.write_warm_up(Unmixed, tmp_path, "name")
    logs = tf.data.TFRecordDataset(str(tmp_path / warm_up.FILE))
    logs = [stubs.PredictionLog.FromString(record.numpy()) for record in logs]
    names = {log.predict_log.request.model_spec.signature_name for log in logs}
    assert names == SIGNATURES - {"mix"}


def test_without_the_stubs_no_warm_up_is_written(projected, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorflow_serving.apis", None)
    assert not warm_up.write_warm_up(projected[2], tmp_path, "name")
    assert list(tmp_path.iterdir()) == []


def test_models_config_is_what_the_server_reads(base):
    config = pytest.importorskip(
        "tensorflow_serving.config.model_server_config_pb2", reason="needs tensorflow-serving-api"
    )
    message = text_format.Parse(text(base, "models.config"), config.ModelServerConfig())
    (model,) = message.model_config_list.config
    assert (model.name, model.base_path) == ("glyphs", "/models/glyphs")
    assert model.model_platform == "tensorflow"
    assert model.model_version_policy.latest.num_versions == 1


def test_batching_parameters_obey_the_servers_rules(base):
    """The stubs have no BatchingParameters; the fields are those of session_bundle_config.proto."""
    parameters = message_type(
        "BatchingParameters",
        {
            "max_batch_size": "Int64Value",
            "batch_timeout_micros": "Int64Value",
            "max_enqueued_batches": "Int64Value",
            "num_batch_threads": "Int64Value",
            "allowed_batch_sizes": "repeated",
            "enable_large_batch_splitting": "BoolValue",
            "max_execution_batch_size": "Int64Value",
        },
    )
    message = text_format.Parse(text(base, "batching.config"), parameters())
    sizes = list(message.allowed_batch_sizes)
    assert sizes == [1, 2, 4, 8]
    assert message.enable_large_batch_splitting.value
    assert sizes[-1] == message.max_execution_batch_size.value <= message.max_batch_size.value
    assert message.num_batch_threads.value >= 1


def test_compose_mounts_what_the_flags_name(base):
    compose = text(base, "docker-compose.yml")
    flags = dict(re.findall(r"- --(\w+)=(\S+)", compose))
    mounts = dict(line.split(":")[::-1][1:] for line in re.findall(r"- (\S+:ro)\n", compose))
    assert mounts == {"/models/glyphs": "..", "/serving": "."}
    files = [value for name, value in flags.items() if name.endswith("_file")]
    assert sorted(file.removeprefix("/serving/") for file in files) == [
        "batching.config",
        "models.config",
        "monitoring.config",
    ]
    for file in files:
        assert (base / kit.DIRECTORY / file.removeprefix("/serving/")).is_file()
    assert flags["enable_grpc_healthcheck_service"] == flags["enable_batching"] == "true"
    assert '["CMD", "grpc_health_probe", "-addr=localhost:8500"]' in compose


def test_no_file_of_an_export_holds_a_path_of_this_machine(base):
    parents = {str(base.parent).encode(), str(base.parent.parent).encode()}
    for path in base.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(parent in content for parent in parents), path


@pytest.mark.parametrize(
    ("directory", "name"),
    [("glyphs", "glyphs"), ("my model (2)", "my_model_2"), ("Ж", "generator")],
)
def test_model_names_suit_urls(tmp_path, directory, name):
    assert kit.model_name(tmp_path / directory) == name


def test_a_kit_that_is_there_is_left_alone(tmp_path):
    assert kit.write_kit(tmp_path / "glyphs")
    config = tmp_path / "glyphs" / kit.DIRECTORY / "batching.config"
    config.write_text("edited")
    assert not kit.write_kit(tmp_path / "glyphs")
    assert config.read_text() == "edited"


def test_the_card_says_what_was_measured_and_what_is_unknown(base):
    values = json.loads((base / "1" / card.FILE).read_text(encoding="utf-8"))
    assert values["class_names"] == OLD + NEW
    assert (values["classes"], values["resolution"], values["dim_z"]) == (5, 32, 16)
    assert values["data"] == values["scores"] == values["licence"] == "unknown"
    # Scales and shifts of norms with 8, 8, 8, 4, 4 and 4 channels, four bytes each.
    assert values["bytes_per_class"] == 4 * 2 * (8 + 8 + 8 + 4 + 4 + 4)
    times = values["milliseconds_per_image"]
    assert set(times) == {"batch_1", "batch_8"} and all(0 < t < 60_000 for t in times.values())


def test_the_card_takes_what_the_caller_tells(projected, served, tmp_path):
    told = {"data": {"train": "bundled:glyphs"}, "licence": {"weights": "CC0", "data": "unknown"}}
    card.write_card(projected[2], tmp_path, told, card.Weights(), served.sample)
    values = json.loads((tmp_path / card.FILE).read_text(encoding="utf-8"))
    assert {name: values[name] for name in told} == told
    assert values["method"] == "unknown"
    reason = "the exporter was given no training images"
    assert values["nearest_neighbours"] == {"skipped": reason}
    assert not (tmp_path / card.PICTURE).exists()


def test_the_picture_of_nearest_neighbours_is_beside_the_card(projected, tmp_path):
    calls = []
    picture = Image.new("RGB", (3, 2), (9, 8, 7))
    told = {"nearest": card.Nearest(picture, {"features": "f"})}
    card.write_card(
        projected[2], tmp_path, told, card.Weights(), lambda *given: calls.append(given)
    )
    values = json.loads((tmp_path / card.FILE).read_text(encoding="utf-8"))
    assert values["nearest_neighbours"] == {"features": "f", "file": "nearest.png"}
    assert Image.open(tmp_path / "nearest.png").getpixel((0, 0)) == (9, 8, 7)
    # What is timed: one row and eight, once to warm up and three times more.
    assert [len(labels) for labels, _ in calls] == [1] * 4 + [8] * 4
    assert all((seeds == np.arange(len(seeds))).all() for _, seeds in calls)


def test_a_second_version_has_a_warm_up_and_a_card_of_its_own(projected, base, tmp_path):
    del base  # Made first, so that failures there are not mistaken for failures here.
    path = export_saved_model(projected[2], tmp_path / "again", version=7)
    assert np.all([(path / name).is_file() for name in (card.FILE, "saved_model.pb")])
    assert sorted(p.name for p in (tmp_path / "again").iterdir()) == ["7", "serving"]
