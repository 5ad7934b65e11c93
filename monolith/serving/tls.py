"""Certificates of the server, and of the clients that it trusts."""

import dataclasses
import ssl

import grpc

_CERTIFICATE = "--tls_certificate"
_KEY = "--tls_key"
_AUTHORITY = "--tls_client_authority"


@dataclasses.dataclass(frozen=True)
class TlsFiles:
  """Paths of PEM files.

  Attributes:
    certificate: the server's, with those between it and the authority's.
    key: its private key.
    client_authority: whose clients alone may connect; "" lets all.
  """

  certificate: str
  key: str
  client_authority: str = ""

  def grpc_credentials(self) -> grpc.ServerCredentials:
    """Raises `OSError` where a file cannot be read or is wrong."""
    self.context()  # gRPC does not say what is wrong.
    files = self._read()
    authority = files.get(_AUTHORITY)
    return grpc.ssl_server_credentials(
      [(files[_KEY], files[_CERTIFICATE])],
      root_certificates=authority,
      require_client_auth=authority is not None,
    )

  def context(self) -> ssl.SSLContext:
    """For HTTP. Raises `OSError` where a file cannot be read or is wrong."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    self._read()  # So that errors name what cannot be read.
    try:
      # Nobody is asked for the password of a key.
      context.load_cert_chain(self.certificate, self.key, password="")
    except ssl.SSLError as error:
      raise OSError(
        f"{_CERTIFICATE}={self.certificate} and {_KEY}={self.key} are not PEM files of "
        f"a certificate and of its key without a password: {error.reason}"
      ) from None
    if self.client_authority:
      try:
        context.load_verify_locations(self.client_authority)
      except ssl.SSLError as error:
        raise OSError(
          f"{_AUTHORITY}={self.client_authority} is no PEM file of "
          f"certificates: {error.reason}"
        ) from None
      context.verify_mode = ssl.CERT_REQUIRED
    return context

  def _read(self) -> dict[str, bytes]:
    """The files, by their flags. Raises `OSError` where one cannot be read."""
    paths = {
      _CERTIFICATE: self.certificate,
      _KEY: self.key,
      _AUTHORITY: self.client_authority,
    }
    files = {}
    for flag, path in paths.items():
      if path:
        try:
          with open(path, "rb") as file:
            files[flag] = file.read()
        except OSError as error:
          raise OSError(f"{flag}={path} cannot be read: {error.strerror}") from None
    return files
