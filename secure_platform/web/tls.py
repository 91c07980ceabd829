"""TLS of the server itself: a client certificate is asked for where the settings name who signs those."""

import asyncio
import ssl
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from secure_platform.site import ServerSettings
from secure_platform.web.proofs import CERTIFICATE


class CertificateProtocol(H11Protocol):
    """Tells the application which client certificate a connection was opened with; uvicorn does not."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # As uvicorn's.
        """Note it for every request and socket of the connection; OpenSSL has verified it."""
        super().connection_made(transport)
        secured = transport.get_extra_info("ssl_object")
        certificate = None if secured is None else secured.getpeercert()
        self.app_state = {**self.app_state, CERTIFICATE: certificate}


def tls_options(server: ServerSettings) -> dict[str, Any]:
    """What uvicorn is told about TLS."""
    if server.tls is None:
        return {}
    options: dict[str, Any] = {"ssl_certfile": server.tls.certificate, "ssl_keyfile": server.tls.key}
    if server.tls.client_ca is not None:
        required = server.tls.client_required
        options |= {
            "ssl_ca_certs": str(server.tls.client_ca),
            "ssl_cert_reqs": ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL,
            "http": CertificateProtocol,
        }
    return options
