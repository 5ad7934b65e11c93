"""A model's versions, and which of them answers. Belongs to the event loop's thread."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Collection, Mapping

from monolith.serving.errors import ServingError, invalid_argument, not_found
from monolith.serving.servable.servable import Servable
from monolith.serving.versions import version_folder

_GONE_TO_REMEMBER = 10


class State(enum.IntEnum):
  """Of a version; the numbers of `ModelVersionStatus.State`."""

  START = 10
  LOADING = 20
  AVAILABLE = 30
  UNLOADING = 40
  END = 50


@dataclasses.dataclass
class Version:
  """`error` is why it could not be loaded; `failures` how often that was tried of what
  is in its folder, which had `failed_identity` the last time; `retry_at` is when it may
  be tried again, or looked at. `was_gone` tells that its folder was missing since it
  was loaded, so that what is there now may be another export: one with another
  `identity` than it was loaded with.
  """

  number: int
  state: State
  servable: Servable | None = None
  error: ServingError | None = None
  failures: int = 0
  retry_at: float = 0.0
  was_gone: bool = False
  identity: version_folder.Identity | None = None
  failed_identity: version_folder.Identity | None = None


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """What to serve under a name."""

  name: str
  base_path: str
  policy: version_folder.Policy
  labels: Mapping[str, int] = dataclasses.field(default_factory=dict)


class ServedModel:
  """Answers which version a request gets.

  Attributes:
    config: what to serve.
    versions: those that are or were loaded, or could not be, by number.
  """

  def __init__(self, config: ModelConfig):
    self.config = config
    self.versions: dict[int, Version] = {}

  @property
  def latest(self) -> Version | None:
    """The newest that can answer."""
    return max(self.available(), key=lambda v: v.number, default=None)

  def available(self) -> list[Version]:
    return [v for v in self.versions.values() if v.state == State.AVAILABLE]

  def find(self, version: int | None, label: str | None) -> Servable:
    """The servable for a request, which has to `retain` it before it lets go of the
    event loop.

    Args:
      version: its number, or None.
      label: name of a version in the configuration, or None. With neither, the latest.

    Raises:
      ServingError: there is none.
    """
    name = self.config.name
    if label is not None:
      if label not in self.config.labels:
        raise invalid_argument(f"Unrecognized servable version label: {label}")
      version = self.config.labels[label]
    if version is not None:
      found = self.versions.get(version)
      if found is None or found.state != State.AVAILABLE:
        raise not_found(f"Servable not found for request: Specific({name}, {version})")
      return found.servable
    found = self.latest
    if found is None:
      raise not_found(
        f"Servable not found for request: Latest({name}). No version is loaded"
      )
    return found.servable

  def forget_gone(self, found: Collection[int]) -> None:
    """Forgets of the versions that are no longer found in the folder how often they
    failed, since what comes back under their numbers is another export; and all but the
    newest of those that are over, which stay for who asks for their status."""
    gone = [v for number, v in self.versions.items() if number not in found]
    for version in gone:
      version.was_gone = True
      version.failures, version.retry_at = 0, 0.0
    over = sorted(version.number for version in gone if version.state == State.END)
    for number in over[:-_GONE_TO_REMEMBER]:
      del self.versions[number]
