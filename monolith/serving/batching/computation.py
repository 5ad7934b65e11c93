"""Runs several requests as one."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence

import numpy as np

from monolith.serving.errors import Code, ServingError
from monolith.serving.servable.servable import Servable
from monolith.serving.servable.signature import Signature, batch_size

Arrays = Mapping[str, np.ndarray]


class _NotByExample(ServingError):
  """Outputs that cannot be given to several requests, whatever these are."""


def compute(
  servable: Servable, signature: Signature, requests: Sequence[Arrays]
) -> list[Arrays | Exception]:
  """Runs requests as one, and parts of them where that fails, so that a bad one, or
  too many, harm no other.

  Returns:
    Of each request its outputs, or an exception of its own.
  """
  if len(requests) == 1:
    return [_alone(servable, signature, requests[0])]
  try:
    return _together(servable, signature, requests)
  except _NotByExample:
    size = 1
  except Exception:  # noqa: BLE001 - Such as MemoryError; each alone may fit.
    size = (len(requests) + 1) // 2
  # What has failed is freed by now.
  results = []
  for begin in range(0, len(requests), size):
    results += compute(servable, signature, requests[begin : begin + size])
  return results


def _alone(
  servable: Servable, signature: Signature, feeds: Arrays
) -> Arrays | Exception:
  try:
    return servable.run(signature, feeds)
  except Exception as error:  # noqa: BLE001 - It is this request's.
    return _without_frames(error)


def _without_frames(error: Exception) -> Exception:
  """An error that is returned: the frames that it has come through would have it, and
  it them, with the request's arrays, until Python looks for garbage."""
  if not isinstance(error, ServingError | MemoryError):
    error.add_note(traceback.format_exc())  # For the log.
  error.__cause__ = error.__context__ = None
  return error.with_traceback(None)


def _together(
  servable: Servable, signature: Signature, requests: Sequence[Arrays]
) -> list[Arrays]:
  merged = {
    name: np.concatenate([feeds[name] for feeds in requests])
    for name in signature.inputs
  }
  outputs = servable.run(signature, merged)
  total = batch_size(merged)
  for name, value in outputs.items():
    if value.ndim == 0 or len(value) != total:
      raise _NotByExample(
        Code.FAILED_PRECONDITION, f"output {name!r} is not one value an example"
      )
  ends = np.cumsum([batch_size(feeds) for feeds in requests])[:-1]
  parts = {name: np.split(value, ends) for name, value in outputs.items()}
  return [
    {name: values[index] for name, values in parts.items()}
    for index in range(len(requests))
  ]
