"""The flags of the server, as what its parts take."""

from __future__ import annotations

import collections
import os

from absl import flags
from google.protobuf import text_format
from tensorflow_serving.config import (
  file_system_storage_path_source_pb2,
  model_server_config_pb2,
)

from monolith.serving.batching.options import BatchingOptions
from monolith.serving.predictor import Limits
from monolith.serving.tls import TlsFiles
from monolith.serving.versions.manager import LoadOptions
from monolith.serving.versions.served_model import ModelConfig

_PLATFORM = "tensorflow"

# As TensorFlow Serving's.
flags.DEFINE_integer("port", 8500, "Port for gRPC; 0 for none.", 0, 65535)
flags.DEFINE_integer("rest_api_port", 0, "Port for HTTP; 0 for none.", 0, 65535)
flags.DEFINE_integer(
  "rest_api_timeout_in_ms", 30_000, "After which HTTP requests are given up.", 1
)
flags.DEFINE_string("model_name", "default", "Of the model in --model_base_path.")
flags.DEFINE_string(
  "model_base_path", "", "Folder whose numbered folders are exports of one model."
)
flags.DEFINE_string(
  "model_config_file",
  "",
  "A ModelServerConfig as text: several models, policies and labels of versions. "
  "Instead of --model_name and --model_base_path.",
)
flags.DEFINE_bool("enable_batching", False, "Run requests that come together as one.")
flags.DEFINE_float(
  "file_system_poll_wait_seconds", 1.0, "Between two looks for new versions.", 0.01
)
flags.DEFINE_integer(
  "max_num_load_retries", 5, "How often a version that cannot be loaded is retried.", 0
)
flags.DEFINE_integer(
  "load_retry_interval_micros", 60_000_000, "Between two tries to load.", 0
)

# Where TensorFlow Serving has a file, or nothing.
flags.DEFINE_string(
  "host", "127.0.0.1", "Address to listen at. 0.0.0.0 lets other machines in."
)
flags.DEFINE_integer(
  "max_batch_size",
  BatchingOptions.max_batch_size,
  "Examples of a batch, and with --enable_batching of a request.",
  1,
)
flags.DEFINE_integer(
  "batch_timeout_micros",
  BatchingOptions.batch_timeout_micros,
  "How long a request may wait for others to fill its batch while another is running.",
  0,
)
flags.DEFINE_integer(
  "num_batch_threads",
  BatchingOptions.num_batch_threads,
  "Batches, or requests where there is no batching, that run at the same time.",
  1,
)
flags.DEFINE_integer(
  "max_enqueued_batches",
  BatchingOptions.max_enqueued_batches,
  "Full batches that may wait, of each signature of a model; requests beyond that get "
  "UNAVAILABLE.",
  1,
)
flags.DEFINE_integer(
  "max_request_bytes",
  Limits.max_request_bytes,
  "Size of a message, and of each tensor in it.",
  1,
)
flags.DEFINE_integer(
  "max_concurrent_requests",
  Limits.max_concurrent_requests,
  "Requests beyond that, over gRPC and HTTP together, get RESOURCE_EXHAUSTED.",
  1,
)
flags.DEFINE_integer(
  "body_timeout_in_ms",
  30_000,
  "After which gRPC requests whose message has not come are given up.",
  1,
)
flags.DEFINE_integer(
  "max_bytes_in_flight",
  Limits.max_bytes_in_flight,
  "Bytes of all bodies under way, over gRPC and HTTP together; beyond that, requests "
  "get RESOURCE_EXHAUSTED.",
  1,
)
flags.DEFINE_integer(
  "max_connections",
  Limits.max_connections,
  "Connections of HTTP; on those beyond, requests are refused.",
  1,
)
flags.DEFINE_float(
  "shutdown_grace_seconds", 20.0, "For requests under way at SIGTERM.", 0.0
)
flags.DEFINE_string("tls_certificate", "", "PEM file: the server's certificates.")
flags.DEFINE_string("tls_key", "", "PEM file: the private key.")
flags.DEFINE_string(
  "tls_client_authority", "", "PEM file: only clients with its certificates connect."
)


def batching_options() -> BatchingOptions:
  f = flags.FLAGS
  return BatchingOptions(
    f.enable_batching,
    f.max_batch_size,
    f.batch_timeout_micros,
    f.num_batch_threads,
    f.max_enqueued_batches,
  )


def limits() -> Limits:
  f = flags.FLAGS
  return Limits(
    f.max_request_bytes,
    f.max_concurrent_requests,
    f.max_bytes_in_flight,
    f.max_connections,
  )


def load_options() -> LoadOptions:
  f = flags.FLAGS
  return LoadOptions(
    f.file_system_poll_wait_seconds,
    f.max_num_load_retries,
    f.load_retry_interval_micros / 1e6,
  )


def tls_files() -> TlsFiles | None:
  """Raises `ValueError` where some of the flags are missing."""
  f = flags.FLAGS
  if bool(f.tls_certificate) != bool(f.tls_key):
    raise ValueError("--tls_certificate and --tls_key: give both or none")
  if not f.tls_certificate:
    if f.tls_client_authority:
      raise ValueError("--tls_client_authority needs --tls_certificate and --tls_key")
    return None
  return TlsFiles(f.tls_certificate, f.tls_key, f.tls_client_authority)


def model_configs() -> list[ModelConfig]:
  """Raises `ValueError` or `OSError` where the flags name no models."""
  f = flags.FLAGS
  if bool(f.model_config_file) == bool(f.model_base_path):
    raise ValueError("give either --model_base_path or --model_config_file")
  if f.model_config_file:
    with open(f.model_config_file, encoding="utf-8") as file:
      return parse_models(file.read())
  policy = file_system_storage_path_source_pb2.FileSystemStoragePathSourceConfig
  return [
    ModelConfig(
      f.model_name, _absolute(f.model_base_path), policy.ServableVersionPolicy()
    )
  ]


def _absolute(path: str) -> str:
  """Of a path on this machine; those elsewhere, such as gs://bucket/model, are."""
  return path if "://" in path else os.path.abspath(path)


def parse_models(text: str) -> list[ModelConfig]:
  """The models of a `ModelServerConfig`.

  Raises:
    ValueError: it is none, or not one that can be served.
  """
  config = model_server_config_pb2.ModelServerConfig()
  try:
    text_format.Parse(text, config)
  except text_format.ParseError as error:
    raise ValueError(f"--model_config_file is no ModelServerConfig: {error}") from None
  models = config.model_config_list.config
  if not models:
    raise ValueError("--model_config_file has no model_config_list with a model")
  names = collections.Counter(model.name for model in models)
  for model in models:
    if not model.name or not model.base_path:
      raise ValueError("--model_config_file: a model lacks its name or base_path")
    if names[model.name] > 1:
      raise ValueError(f"--model_config_file: {model.name} is there twice")
    if model.model_platform not in ("", _PLATFORM):
      raise ValueError(
        f"--model_config_file: model_platform of {model.name} is "
        f'{model.model_platform!r}, wanted "{_PLATFORM}"'
      )
  return [
    ModelConfig(
      model.name,
      model.base_path,
      model.model_version_policy,
      dict(model.version_labels),
    )
    for model in models
  ]
