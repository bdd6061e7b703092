"""What a TensorFlow Serving needs besides the SavedModel, written once beside its versions.

    <base directory>/serving/docker-compose.yml, models.config, batching.config, monitoring.config

Field names of the configurations are those of TensorFlow Serving's protos ModelServerConfig,
BatchingParameters and MonitoringConfig. `docs/serving.md` says how the files are used and which
server versions they follow.
"""

import re
from pathlib import Path

from cgt_tf.files import staged_directory

DIRECTORY = "serving"
# What batches are padded to; ascending, the last is the largest batch that is run.
ALLOWED_BATCH_SIZES = (1, 2, 4, 8)
# Rows of one request; the server splits what is larger than a batch.
_MOST_ROWS = 64
_SERVER_IMAGE = "tensorflow/serving:2.19.1"
_PROBE_IMAGE = "ghcr.io/grpc-ecosystem/grpc-health-probe:v0.4.40"

_MODELS = """\
model_config_list {{
  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
    # The new version is loaded and warmed up before the old one goes.
    model_version_policy {{ latest {{ num_versions: 1 }} }}
  }}
}}
"""

_BATCHING = """\
# The largest request, in rows; it is run in batches of the largest allowed size.
max_batch_size {{ value: {most_rows} }}
enable_large_batch_splitting {{ value: true }}
max_execution_batch_size {{ value: {largest} }}
# assets.extra/tf_serving_warmup_requests of each version holds these sizes.
{allowed}
# How long a request waits for others.
batch_timeout_micros {{ value: 5000 }}
# Requests beyond this queue are refused with UNAVAILABLE, which clients may retry.
max_enqueued_batches {{ value: 100 }}
# One for each device that computes: CPU kernels use all cores by themselves.
num_batch_threads {{ value: 1 }}
"""

_MONITORING = """\
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""

_COMPOSE = """\
# docker compose up --build --wait
#
# SERVING_IMAGE chooses another server, such as {image}-gpu. The ports are open
# to this machine only: the server asks nobody for a password.
services:
  serving:
    build:
      context: .
      dockerfile_inline: |
        FROM {probe} AS probe
        FROM ${{SERVING_IMAGE:-{image}}}
        COPY --from=probe /ko-app/grpc-health-probe /usr/local/bin/grpc_health_probe
    command:
      - --model_config_file=/serving/models.config
      - --enable_batching=true
      - --batching_parameters_file=/serving/batching.config
      - --monitoring_config_file=/serving/monitoring.config
      - --enable_grpc_healthcheck_service=true
    volumes:
      - ..:/models/{name}:ro
      - .:/serving:ro
    ports:
      - "127.0.0.1:8500:8500" # gRPC
      - "127.0.0.1:8501:8501" # REST and metrics
    healthcheck:
      test: ["CMD", "grpc_health_probe", "-addr=localhost:8500"]
      interval: 10s
      timeout: 5s
      retries: 3
      start_period: 5m # Models are loaded and warmed up before the server answers.
    restart: unless-stopped
"""


def model_name(base: Path) -> str:
    """The name that a server knows a model by: its directory's, in letters that URLs allow."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", base.absolute().name).strip("_") or "generator"


def write_kit(base: Path) -> bool:
    """Writes `<base>/serving/`, all or nothing; one that is there may have been edited and stays.

    Args:
        base: Holds one directory for each version.

    Returns:
        Whether it was written.

    Raises:
        InputError: the place cannot be written to.
    """
    target = base / DIRECTORY
    if target.exists():
        return False
    with staged_directory(target) as staging:
        for name, text in _files(model_name(base)).items():
            (staging / name).write_text(text, encoding="utf-8")
    return True


def _files(name: str) -> dict[str, str]:
    allowed = "\n".join(f"allowed_batch_sizes: {size}" for size in ALLOWED_BATCH_SIZES)
    largest = ALLOWED_BATCH_SIZES[-1]
    return {
        "models.config": _MODELS.format(name=name),
        "batching.config": _BATCHING.format(most_rows=_MOST_ROWS, largest=largest, allowed=allowed),
        "monitoring.config": _MONITORING,
        "docker-compose.yml": _COMPOSE.format(name=name, image=_SERVER_IMAGE, probe=_PROBE_IMAGE),
    }
