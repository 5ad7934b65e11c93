"""What a request can fail with, in the codes of gRPC and of HTTP.

The codes are those that TensorFlow Serving answers with.
"""

import grpc
import tensorflow as tf

Code = grpc.StatusCode

_HTTP_STATUS = {
  Code.OK: 200,
  Code.CANCELLED: 499,
  Code.UNKNOWN: 500,
  Code.INVALID_ARGUMENT: 400,
  Code.DEADLINE_EXCEEDED: 504,
  Code.NOT_FOUND: 404,
  Code.ALREADY_EXISTS: 409,
  Code.PERMISSION_DENIED: 403,
  Code.RESOURCE_EXHAUSTED: 429,
  Code.FAILED_PRECONDITION: 400,
  Code.ABORTED: 409,
  Code.OUT_OF_RANGE: 400,
  Code.UNIMPLEMENTED: 501,
  Code.INTERNAL: 500,
  Code.UNAVAILABLE: 503,
  Code.DATA_LOSS: 500,
  Code.UNAUTHENTICATED: 401,
}
_BY_NUMBER = {code.value[0]: code for code in Code}

# Of a message. gRPC sends a byte that is no ASCII as three, and has 8 KiB for all that
# comes with an answer.
_MAX_BYTES = 2000


class ServingError(Exception):
  """A request cannot be answered; `code` and `message` are for its sender."""

  def __init__(self, code: Code, message: str):
    # It may hold what a client has sent: much, or what is no text.
    text = message.encode(errors="replace")
    if len(text) > _MAX_BYTES:
      text = text[:_MAX_BYTES] + b"..."
    message = text.decode(errors="ignore")  # But for half a character.
    super().__init__(message)
    self.code = code
    self.message = message

  @property
  def http_status(self) -> int:
    return _HTTP_STATUS[self.code]


def invalid_argument(message: str) -> ServingError:
  return ServingError(Code.INVALID_ARGUMENT, message)


def not_found(message: str) -> ServingError:
  return ServingError(Code.NOT_FOUND, message)


def of_exception(error: Exception) -> ServingError:
  """What a model has raised; TensorFlow's codes are gRPC's."""
  if isinstance(error, ServingError):
    return error
  if isinstance(error, tf.errors.OpError):
    return ServingError(_BY_NUMBER.get(error.error_code, Code.UNKNOWN), error.message)
  return ServingError(Code.UNKNOWN, str(error))
