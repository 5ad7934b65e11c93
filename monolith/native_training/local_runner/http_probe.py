"""Whether a server answers over HTTP."""

import urllib.error
import urllib.request

_TIMEOUT_SECONDS = 5.0


def is_answered(url: str) -> bool:
  """Whether a GET succeeds now."""
  try:
    urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS).close()
    return True
  except urllib.error.HTTPError as error:
    error.close()
  except OSError:
    pass
  return False
