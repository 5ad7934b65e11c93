"""Hyperparameters: named values with defaults and descriptions, nested and copied.

A `Params` is a set of names that was fixed when each was defined: setting a name
that was never defined is an error, which catches misspelt settings.

  p = Params()
  p.define('hidden', 64, 'Units of the hidden layer.')
  p.hidden = 128

`InstantiableParams` also knows the class it configures: `p.instantiate()`.
"""

import copy
import difflib
from collections.abc import Iterator
from typing import Any


class Params:
  """A fixed set of named values. Nested `Params` are reached by dotted names."""

  def __init__(self):
    self.__dict__["_values"] = {}
    self.__dict__["_descriptions"] = {}

  def define(self, name: str, default: Any, description: str) -> None:
    """Adds a parameter.

    Args:
      name: an identifier, not defined yet.
      default: its value until it is set.
      description: one sentence for people.

    Raises:
      ValueError: the name is no identifier, starts with an underscore, belongs to a
        method, or is already defined.
    """
    if not name.isidentifier() or name.startswith("_") or hasattr(type(self), name):
      raise ValueError(f"parameter name {name!r}: wanted a plain identifier")
    if name in self._values:
      raise ValueError(f"parameter {name!r} is already defined")
    self._values[name] = default
    self._descriptions[name] = description

  def __getattr__(self, name: str) -> Any:
    if name.startswith("__"):
      raise AttributeError(name)
    return self._values[self._checked(name)]

  def __setattr__(self, name: str, value: Any) -> None:
    self._values[self._checked(name)] = value

  def __contains__(self, name: str) -> bool:
    return name in self._values

  def __iter__(self) -> Iterator[tuple[str, Any]]:
    return iter(self._values.items())

  def __eq__(self, other: object) -> bool:
    return type(other) is type(self) and other._values == self._values

  __hash__ = None

  def get(self, path: str) -> Any:
    """The value at a dotted path, for example `get('train.max_steps')`."""
    owner, name = self._owner(path)
    return getattr(owner, name)

  def set(self, **values: Any) -> "Params":
    """Sets several values; names may not be dotted. Returns self, to chain."""
    for name, value in values.items():
      setattr(self, name, value)
    return self

  def set_path(self, path: str, value: Any) -> "Params":
    """Sets the value at a dotted path. Returns self, to chain."""
    owner, name = self._owner(path)
    setattr(owner, name, value)
    return self

  def describe(self, name: str) -> str:
    """The description given to `define`."""
    return self._descriptions[self._checked(name)]

  def copy(self) -> "Params":
    """A copy in which nested `Params` are copies too."""
    return copy.deepcopy(self)

  __copy__ = copy  # Two owners of the same values would surprise.

  def __deepcopy__(self, memo: dict) -> "Params":
    clone = type(self).__new__(type(self))
    for key, value in self.__dict__.items():
      shared = key == "_cls"  # A class is not copied.
      clone.__dict__[key] = value if shared else copy.deepcopy(value, memo)
    return clone

  def __getstate__(self) -> dict:
    return self.__dict__

  def __setstate__(self, state: dict) -> None:
    self.__dict__.update(state)

  def __repr__(self) -> str:
    return "\n".join(self._lines(""))

  def _lines(self, prefix: str) -> Iterator[str]:
    for name, value in sorted(self._values.items()):
      if isinstance(value, Params):
        yield from value._lines(f"{prefix}{name}.")
      else:
        yield f"{prefix}{name} = {value!r}"

  def _owner(self, path: str) -> tuple["Params", str]:
    *parents, name = path.split(".")
    owner = self
    for parent in parents:
      owner = getattr(owner, parent)
      if not isinstance(owner, Params):
        raise AttributeError(f"{path!r}: {parent!r} holds a value, not parameters")
    return owner, name

  def _checked(self, name: str) -> str:
    if name in self._values:
      return name
    close = difflib.get_close_matches(name, self._values, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    known = ", ".join(sorted(self._values)) or "none"
    raise AttributeError(f"no parameter {name!r}{hint} (known: {known})")


class InstantiableParams(Params):
  """The parameters of a class, which is built from them by `instantiate()`."""

  def __init__(self, cls: type):
    super().__init__()
    self.__dict__["_cls"] = cls

  def __eq__(self, other: object) -> bool:
    return super().__eq__(other) and other.cls is self.cls

  __hash__ = None

  @property
  def cls(self) -> type:
    """The class that `instantiate` builds."""
    return self.__dict__["_cls"]

  def instantiate(self) -> Any:
    """Builds the class from a copy of these parameters."""
    return self.cls(self.copy())
