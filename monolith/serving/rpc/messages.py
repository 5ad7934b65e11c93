"""What all requests have: bytes that are a message, and a `model_spec`."""

from google.protobuf import message

from monolith.serving.errors import Code, ServingError, invalid_argument
from monolith.serving.predictor import Target


def parse(kind: type, body: bytes):
  """Parses a message.

  Raises:
    ServingError: with the code that gRPC has for it.
  """
  try:
    return kind.FromString(body)
  except message.DecodeError:
    raise ServingError(
      Code.INTERNAL, f"the request is no {kind.DESCRIPTOR.full_name}"
    ) from None


def target_of(request) -> Target:
  """Whom the `model_spec` of a request names.

  Raises:
    ServingError: nobody.
  """
  if not request.HasField("model_spec"):
    raise invalid_argument("Missing ModelSpec")
  spec = request.model_spec
  if not spec.name:
    raise invalid_argument("ModelSpec has no name specified.")
  kind = spec.WhichOneof("version_choice")
  return Target(
    spec.name,
    spec.version.value if kind == "version" else None,
    spec.version_label if kind == "version_label" else None,
  )
