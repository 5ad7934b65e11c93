"""The flags of the server, as what its parts take."""

from __future__ import annotations

import collections
import math

from absl import flags
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from monolith.native_training.folder_names import check_is_no_pattern
from monolith.native_training.local_files.user_path import user_path
from monolith.serving.admission import Limits
from monolith.serving.batching.options import BatchingOptions
from monolith.serving.tls import TlsFiles
from monolith.serving.versions import version_folder
from monolith.serving.versions.model_watcher import LoadOptions
from monolith.serving.versions.served_model import ModelConfig

_PLATFORM = "tensorflow"
# Options of gRPC have 32 bits, and it adds some bytes to those of a message.
_MOST = 2**31 - 1
_MOST_BYTES = _MOST - 65536

# As TensorFlow Serving's.
flags.DEFINE_integer("port", 8500, "Port for gRPC; 0 for none.", 0, 65535)
flags.DEFINE_integer("rest_api_port", 0, "Port for HTTP; 0 for none.", 0, 65535)
flags.DEFINE_integer(
  "rest_api_timeout_in_ms",
  30_000,
  "After which HTTP requests are given up, and answers that are not read.",
  1,
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
  "max_num_load_retries",
  5,
  "How often a version that cannot be loaded is retried, until its files change.",
  0,
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
  "Batches, or requests where there is no batching, that run at the same time; a model "
  "that runs none begins one more.",
  1,
)
flags.DEFINE_integer(
  "max_enqueued_batches",
  BatchingOptions.max_enqueued_batches,
  "Full batches that may wait with --enable_batching, of each signature of a model; "
  "requests beyond that get UNAVAILABLE. Without it only the limits of requests bound "
  "how many wait.",
  1,
)
flags.DEFINE_integer(
  "max_request_bytes",
  Limits.max_request_bytes,
  "Size of a message, and of each tensor in it; what is repeated counts each time.",
  1,
  _MOST_BYTES,
)
flags.DEFINE_integer(
  "max_rest_body_bytes",
  Limits.max_rest_body_bytes,
  "Size of a body of HTTP, if that is less than --max_request_bytes. While JSON is "
  "parsed nothing else in the server runs but models: tens of milliseconds for 4 MiB, "
  "hundreds for 16 MiB.",
  1,
)
flags.DEFINE_integer(
  "max_concurrent_requests",
  Limits.max_concurrent_requests,
  "Predictions beyond that, over gRPC and HTTP together, get RESOURCE_EXHAUSTED.",
  1,
  _MOST,
)
flags.DEFINE_integer(
  "body_timeout_in_ms",
  30_000,
  "After which gRPC requests whose message has not come are given up; those, too, that "
  "are not let in before, since too many messages are being received.",
  1,
)
flags.DEFINE_integer(
  "max_bytes_in_flight",
  Limits.max_bytes_in_flight,
  "Bytes of all bodies under way, or of what they become when they are decoded if that "
  "is more, and of answers until they are written, over gRPC and HTTP together; beyond "
  "that, requests get RESOURCE_EXHAUSTED.",
  1,
)
flags.DEFINE_integer(
  "max_connections",
  Limits.max_connections,
  "Connections of gRPC, where those beyond are closed; and as many of HTTP, where on "
  "those that come beyond predictions are refused.",
  1,
  _MOST,
)
flags.DEFINE_float(
  "shutdown_grace_seconds", 20.0, "For requests under way at SIGTERM.", 0.0
)
for _name in ("file_system_poll_wait_seconds", "shutdown_grace_seconds"):
  flags.register_validator(_name, math.isfinite, "must be a finite number")
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
    f.max_rest_body_bytes,
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
  paths = (f.tls_certificate, f.tls_key, f.tls_client_authority)
  return TlsFiles(*map(user_path, paths))


def model_configs() -> list[ModelConfig]:
  """Raises `ValueError` or `OSError` where the flags name no models."""
  f = flags.FLAGS
  if bool(f.model_config_file) == bool(f.model_base_path):
    raise ValueError("give either --model_base_path or --model_config_file")
  if f.model_config_file:
    path = user_path(f.model_config_file)
    try:
      with open(path, encoding="utf-8") as file:
        return parse_models(file.read())
    except UnicodeDecodeError as error:
      raise ValueError(f"--model_config_file: {path} is no text: {error}") from None
    except OSError as error:
      raise OSError(
        f"--model_config_file={path} cannot be read: {error.strerror}"
      ) from None
  if not f.model_name:
    raise ValueError("--model_name is empty")
  path = user_path(f.model_base_path)
  check_is_no_pattern("--model_base_path", path)
  return [ModelConfig(f.model_name, path, version_folder.Policy())]


def parse_models(text: str) -> list[ModelConfig]:
  """The models of a `ModelServerConfig`.

  Raises:
    ValueError: it is none, or not one that can be served.
  """
  config = model_server_config_pb2.ModelServerConfig()
  try:
    text_format.Parse(text, config)
  except text_format.ParseError as error:
    hint = ""
    if 'multiple "model_config_list"' in str(error):
      hint = " Give one model_config_list, with a config for each model."
    raise ValueError(
      f"--model_config_file is no ModelServerConfig: {error}{hint}"
    ) from None
  models = config.model_config_list.config
  if not models:
    raise ValueError("--model_config_file has no model_config_list with a model")
  names = collections.Counter(model.name for model in models)
  for model in models:
    if not model.name or not model.base_path:
      raise ValueError("--model_config_file: a model lacks its name or base_path")
    check_is_no_pattern(
      f"--model_config_file: base_path of {model.name}", user_path(model.base_path)
    )
    if names[model.name] > 1:
      raise ValueError(f"--model_config_file: {model.name} is there twice")
    if model.model_platform not in ("", _PLATFORM):
      raise ValueError(
        f"--model_config_file: model_platform of {model.name} is "
        f'{model.model_platform!r}, wanted "{_PLATFORM}"'
      )
    if version_folder.is_empty(model.model_version_policy):
      raise ValueError(
        f"--model_config_file: model_version_policy of {model.name} is specific, but "
        "names no versions"
      )
  return [
    ModelConfig(
      model.name,
      user_path(model.base_path),
      model.model_version_policy,
      dict(model.version_labels),
    )
    for model in models
  ]
