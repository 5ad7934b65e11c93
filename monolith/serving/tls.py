"""Certificates of the server, and of the clients that it trusts."""

import dataclasses
import ssl

import grpc


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
    authority = _read(self.client_authority) if self.client_authority else None
    return grpc.ssl_server_credentials(
      [(_read(self.key), _read(self.certificate))],
      root_certificates=authority,
      require_client_auth=authority is not None,
    )

  def context(self) -> ssl.SSLContext:
    """For HTTP. Raises `OSError` where a file cannot be read or is wrong."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path in filter(None, (self.certificate, self.key, self.client_authority)):
      _read(path)  # So that errors name it.
    try:
      # Nobody is asked for the password of a key.
      context.load_cert_chain(self.certificate, self.key, password="")
    except ssl.SSLError as error:
      raise OSError(
        f"--tls_certificate={self.certificate} and --tls_key={self.key} are not PEM "
        f"files of a certificate and of its key without a password: {error.reason}"
      ) from None
    if self.client_authority:
      try:
        context.load_verify_locations(self.client_authority)
      except ssl.SSLError as error:
        raise OSError(
          f"--tls_client_authority={self.client_authority} is no PEM file of "
          f"certificates: {error.reason}"
        ) from None
      context.verify_mode = ssl.CERT_REQUIRED
    return context


def _read(path: str) -> bytes:
  with open(path, "rb") as file:
    return file.read()
