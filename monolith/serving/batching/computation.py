"""Runs several requests as one."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence

import numpy as np

from monolith.serving.errors import ServingError
from monolith.serving.servable.servable import Servable
from monolith.serving.servable.signature import Signature, batch_size

Arrays = Mapping[str, np.ndarray]


def compute(
  servable: Servable, signature: Signature, requests: Sequence[Arrays]
) -> list[Arrays | Exception]:
  """Runs requests as one, and parts of them where that fails, so that a bad one, or
  too many, harm no other. Each runs alone until that has shown that outputs have one
  row for each example, and once it was shown that they have not.

  Returns:
    Of each request its outputs, or an exception of its own.
  """
  results = []
  for index, feeds in enumerate(requests):
    if servable.by_example(signature) and index < len(requests) - 1:
      return results + _merged(servable, signature, requests[index:])
    results.append(_alone(servable, signature, feeds))
  return results


def _merged(
  servable: Servable, signature: Signature, requests: Sequence[Arrays]
) -> list[Arrays | Exception]:
  try:
    return _together(servable, signature, requests)
  except Exception:  # noqa: BLE001 - Such as MemoryError; each alone may fit.
    middle = (len(requests) + 1) // 2
  # What has failed is freed by now.
  return [
    result
    for part in (requests[:middle], requests[middle:])
    for result in compute(servable, signature, part)
  ]


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
  if not servable.by_example(signature):
    raise ValueError("outputs that cannot be given to several requests")
  ends = np.cumsum([batch_size(feeds) for feeds in requests])[:-1]
  parts = {name: np.split(value, ends) for name, value in outputs.items()}
  return [
    {name: values[index] for name, values in parts.items()}
    for index in range(len(requests))
  ]
