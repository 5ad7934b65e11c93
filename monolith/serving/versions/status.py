"""The states of a model's versions, as TensorFlow Serving's messages."""

from tensorflow_serving.apis import get_model_status_pb2

from monolith.serving.errors import not_found
from monolith.serving.versions.served_model import ServedModel


def of(
  model: ServedModel, version: int | None, label: str | None
) -> get_model_status_pb2.GetModelStatusResponse:
  """The state of one version, or of all, the newest first.

  Raises:
    ServingError: there is none.
  """
  name = model.config.name
  if label is not None:
    version = model.find(None, label).version
  found = sorted(model.versions.values(), key=lambda v: v.number, reverse=True)
  if version is not None:
    found = [v for v in found if v.number == version]
    if not found:
      raise not_found(f"Could not find version {version} of model {name}")
  if not found:
    raise not_found(f"Could not find any versions of model {name}")
  response = get_model_status_pb2.GetModelStatusResponse()
  for item in found:
    status = response.model_version_status.add(
      version=item.number, state=int(item.state)
    )
    status.status.error_code = item.error.code.value[0] if item.error else 0
    status.status.error_message = item.error.message if item.error else ""
  return response
