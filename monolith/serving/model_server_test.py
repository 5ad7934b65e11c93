"""The server as its clients see it: those of gRPC, and curl."""

import base64
import json
import os
import re
import signal
import subprocess
import sys

import grpc
import numpy as np
import tensorflow as tf
from absl import flags
from absl.testing import absltest
from tensorflow_serving.apis import (
  get_model_metadata_pb2,
  get_model_status_pb2,
  model_service_pb2_grpc,
  prediction_service_pb2_grpc,
)

from monolith.serving import configuration, model_server
from monolith.serving.testing.clients import curl, predict_request
from monolith.serving.testing.exported_model import (
  ITEMS,
  USERS,
  ExportedModel,
  HalfTwoHeads,
  examples,
)
from monolith.serving.testing.server_process import ServerProcess

_TIMEOUT = 120.0


class ModelServerTest(absltest.TestCase):
  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    folder = absltest.TEST_TMPDIR.value
    cls.model = ExportedModel(os.path.join(folder, "model"))
    cls.version = cls.model.train_and_export()
    cls.expected = cls.model.predict()
    cls.half = ExportedModel(os.path.join(folder, "half"), HalfTwoHeads)
    cls.half.train_and_export()
    config = os.path.join(folder, "models.config")
    with open(config, "w", encoding="utf-8") as file:
      file.write(
        f"""model_config_list {{
          config {{
            name: "two_heads" base_path: "{cls.model.base_path}"
            version_labels {{ key: "stable" value: {cls.version} }}
          }}
          config {{ name: "half" base_path: "{cls.half.base_path}" }}
        }}"""
      )
    cls.server = cls.enter_context(
      ServerProcess(
        os.path.join(folder, "server.log"),
        f"--model_config_file={config}",
        "--enable_batching",
      )
    )
    cls.server.wait_until_ready()
    channel = cls.enter_context(grpc.insecure_channel(cls.server.address))
    cls.predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    cls.models = model_service_pb2_grpc.ModelServiceStub(channel)

  def test_grpc_predictions_equal_the_estimators(self):
    response = self.predictions.Predict(
      predict_request(user=USERS, item=ITEMS), _TIMEOUT
    )
    self.assertEqual(response.model_spec.version.value, self.version)
    self.assertEqual(response.model_spec.signature_name, "serving_default")
    self.assertCountEqual(response.outputs, ["score", "click"])
    for head, expected in self.expected.items():
      np.testing.assert_array_equal(tf.make_ndarray(response.outputs[head]), expected)

  def test_an_output_filter_leaves_out_the_others(self):
    request = predict_request(user=USERS, item=ITEMS)
    request.output_filter.append("click")
    response = self.predictions.Predict(request, _TIMEOUT)
    self.assertCountEqual(response.outputs, ["click"])

  def test_curl_predictions_equal_the_estimators(self):
    rows = [
      {"user": user, "item": item}
      for user, item in zip(USERS.tolist(), ITEMS.tolist(), strict=True)
    ]
    status, body = curl(
      f"{self.server.url}/v1/models/two_heads:predict",
      *("--data", json.dumps({"instances": rows})),
    )
    self.assertEqual(status, 200, body)
    predictions = json.loads(body)["predictions"]
    for head, expected in self.expected.items():
      got = np.array([row[head] for row in predictions], np.float32)
      np.testing.assert_array_equal(got, expected)

  def test_curl_takes_columns_and_versions(self):
    status, body = curl(
      f"{self.server.url}/v1/models/two_heads/versions/{self.version}:predict",
      *("--data", json.dumps({"inputs": {"user": [[3]], "item": [[4]]}})),
    )
    self.assertEqual(status, 200, body)
    self.assertCountEqual(json.loads(body)["outputs"], ["score", "click"])

  def test_serialized_examples(self):
    request = predict_request(examples=examples())
    request.model_spec.signature_name = "examples"
    response = self.predictions.Predict(request, _TIMEOUT)
    self.assertEqual(response.model_spec.signature_name, "examples")
    rows = [{"b64": base64.b64encode(example).decode()} for example in examples()]
    status, body = curl(
      f"{self.server.url}/v1/models/two_heads:predict",
      *("--data", json.dumps({"signature_name": "examples", "instances": rows})),
    )
    self.assertEqual(status, 200, body)
    predictions = json.loads(body)["predictions"]
    for head, expected in self.expected.items():
      np.testing.assert_array_equal(tf.make_ndarray(response.outputs[head]), expected)
      got = np.array([row[head] for row in predictions], np.float32)
      np.testing.assert_array_equal(got, expected)

  def test_rows_of_16_bits_change_predictions_as_little_as_they_say(self):
    request = predict_request(user=USERS, item=ITEMS)
    request.model_spec.name = "half"
    response = self.predictions.Predict(request, _TIMEOUT)
    for head, expected in self.half.predict().items():
      got = tf.make_ndarray(response.outputs[head])
      np.testing.assert_allclose(got, expected, rtol=2**-9, atol=2**-11)
      self.assertFalse(np.array_equal(got, expected))

  def test_paths_with_versions_and_labels(self):
    body = json.dumps({"inputs": {"user": [[3]], "item": [[4]]}})
    for which in (f"/versions/{self.version}", "/labels/stable"):
      url = f"{self.server.url}/v1/models/two_heads{which}"
      self.assertEqual(curl(f"{url}:predict", "--data", body)[0], 200)
      status, metadata = curl(f"{url}/metadata")
      self.assertEqual(status, 200, metadata)
      spec = {
        "name": "two_heads",
        "signature_name": "",
        "version": str(self.version),
      }
      self.assertEqual(json.loads(metadata)["model_spec"], spec)
      status, states = curl(url)
      self.assertEqual(status, 200, states)
      (state,) = json.loads(states)["model_version_status"]
      self.assertEqual(state["version"], str(self.version))
    for which, wanted in (("/versions/7", 404), ("/labels/other", 400)):
      url = f"{self.server.url}/v1/models/two_heads{which}"
      for found, _ in (
        curl(f"{url}:predict", "--data", body),
        curl(url),
        curl(f"{url}/metadata"),
      ):
        self.assertEqual(found, wanted)

  def _run_the_example_client(self, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "monolith.serving.example_client"]
    return subprocess.run(
      [*command, f"--server={self.server.address}", *arguments],
      capture_output=True,
      text=True,
      env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
      timeout=_TIMEOUT,
    )

  def test_what_the_example_client_cannot_ask(self):
    for arguments, message in (
      (("mov",), "got mov, wanted such as mov=1,2,3"),
      (("mov=",), "got mov=, wanted such as mov=1,2,3"),
      (("mov=99999999999999999999",), "got mov=99999999999999999999, want"),
      (("--model=other", "mov=1"), "NOT_FOUND: Servable not found"),
    ):
      result = self._run_the_example_client(*arguments)
      self.assertEqual(result.returncode, 1)
      self.assertIn(f"example_client: {message}", result.stderr)
      self.assertNotIn("Traceback", result.stderr)

  def test_the_example_client(self):
    result = self._run_the_example_client(
      "--model=two_heads", "user=0,1,2", "item=1000,1007,1014"
    )
    self.assertEqual(result.returncode, 0, result.stderr)
    self.assertIn(f"version {self.version} of two_heads", result.stdout)
    for head, expected in self.expected.items():
      (values,) = re.findall(rf"^{head}: (.+)$", result.stdout, re.MULTILINE)
      got = [float(value) for value in values.split(", ")]
      # To the last bits, as these are other batches than those expected.
      np.testing.assert_allclose(got, expected[:3, 0], rtol=1e-5, atol=1e-7)

  def test_metadata_has_the_signature(self):
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = "two_heads"
    request.metadata_field.append("signature_def")
    response = self.predictions.GetModelMetadata(request, _TIMEOUT)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    definition = signatures.signature_def["serving_default"]
    self.assertCountEqual(definition.inputs, ["user", "item"])
    self.assertEqual(definition.inputs["user"].dtype, tf.int64.as_datatype_enum)
    status, body = curl(f"{self.server.url}/v1/models/two_heads/metadata")
    self.assertEqual(status, 200, body)
    document = json.loads(body)
    self.assertEqual(document["model_spec"]["version"], str(self.version))
    served = document["metadata"]["signature_def"]["signature_def"]["serving_default"]
    self.assertEqual(served["inputs"]["user"]["dtype"], "DT_INT64")
    dims = [{"size": "-1", "name": ""}, {"size": "1", "name": ""}]
    shape = {"dim": dims, "unknown_rank": False}
    self.assertEqual(served["inputs"]["user"]["tensor_shape"], shape)

  def test_status_is_available(self):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "two_heads"
    (status,) = self.models.GetModelStatus(request, _TIMEOUT).model_version_status
    self.assertEqual(status.version, self.version)
    self.assertEqual(status.state, get_model_status_pb2.ModelVersionStatus.AVAILABLE)
    code, body = curl(f"{self.server.url}/v1/models/two_heads")
    self.assertEqual(code, 200, body)
    (rest,) = json.loads(body)["model_version_status"]
    self.assertEqual(rest["version"], str(self.version))
    self.assertEqual(rest["state"], "AVAILABLE")
    self.assertEqual(rest["status"]["error_code"], "OK")

  def test_metrics_count_requests(self):
    self.predictions.Predict(predict_request(user=USERS, item=ITEMS), _TIMEOUT)
    for path in ("/metrics", "/monitoring/prometheus/metrics"):
      status, body = curl(f"{self.server.url}{path}")
      self.assertEqual(status, 200)
      self.assertRegex(
        body,
        r'monolith_serving_requests_total\{code="OK",method="Predict",'
        r'model="two_heads",protocol="grpc"\} [1-9]',
      )

  def test_zz_sigterm_ends_it_in_order(self):
    self.server.process.send_signal(signal.SIGTERM)
    self.assertEqual(self.server.process.wait(_TIMEOUT), 0, self.server.log)
    self.assertNotIn("Traceback", self.server.log)

  def test_help_lists_the_flags(self):
    told = flags.FLAGS.get_key_flags_for_module(model_server)
    own = flags.FLAGS.flags_by_module_dict()[configuration.__name__]
    self.assertContainsSubset([f.name for f in own], [f.name for f in told])


if __name__ == "__main__":
  absltest.main()
