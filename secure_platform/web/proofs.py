"""Who others vouch for: a client certificate that our own authority signed, a proxy that the settings trust.

Both name a principal that is here already; neither makes one, and neither is a second factor. What a proxy
says counts from its addresses and with its secret only; the same header from anywhere else is an attack, and
is refused, not ignored.
"""

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Final

from starlette.requests import HTTPConnection
from starlette.types import Scope

from secure_platform.access.circumstances import Channel, Circumstances, Method
from secure_platform.access.principals import Principal, Principals
from secure_platform.errors import AccessDeniedError, UsageError
from secure_platform.keys.secrets.resolver import Secrets
from secure_platform.keys.secrets.secret import Secret
from secure_platform.site import ProxySettings
from secure_platform.web.address import PEER

CERTIFICATE: Final = "secure_platform.client_certificate"
SECRET_HEADER: Final = "x-proxy-secret"  # noqa: S105 - the name of a header
_SHORTEST_SECRET: Final = 32


class TrustedProxy:
    """A proxy that has authenticated the caller.

    Args:
        settings: Its addresses, header and secret.
        secrets: Where the secret is.

    Raises:
        UsageError: If the settings name a header, but no good secret.
    """

    def __init__(self, settings: ProxySettings, secrets: Secrets) -> None:
        self._networks = [ip_network(each) for each in settings.addresses]
        self._header = settings.user_header
        self._secrets = secrets
        self._reference = settings.secret or ""
        if settings.user_header is not None:
            _require_long(self._known_secret())

    def user(self, connection: HTTPConnection) -> str | None:
        """The name that the proxy says; None if it says none.

        Raises:
            UsageError: If somebody else says one.
        """
        if self._header is None:
            return None
        names = connection.headers.getlist(self._header)
        if not names:
            return None
        shown = connection.headers.getlist(SECRET_HEADER)
        knows = len(shown) == 1 and self._is_there(connection.scope) and self._is_secret(shown[0].encode())
        if len(names) != 1 or not knows:
            raise UsageError(
                f"The header {self._header} did not come from the trusted proxy",
                "Let the proxy remove it from what its clients send, and add X-Proxy-Secret.",
            )
        return names[0].strip().lower()

    def _known_secret(self) -> Secret:
        if not self._reference:
            raise UsageError(
                "server.proxy.user_header needs server.proxy.secret", "Refer to the secret: secret://…"
            )
        return self._secrets.get(self._reference)

    def _is_secret(self, shown: bytes) -> bool:
        """Whether it is the proxy's secret, read anew if it may have been changed."""
        known = self._known_secret()
        return _require_long(known).equals(shown) or _require_long(self._secrets.refresh(known)).equals(shown)

    def _is_there(self, scope: Scope) -> bool:
        peer = scope.get(PEER) or scope.get("client") or ("", 0)
        try:
            return any(ip_address(peer[0]) in network for network in self._networks)
        except ValueError:
            return False


def certificate_name(scope: Scope) -> str | None:
    """The one common name of the client certificate that this connection was opened with."""
    certificate = scope.get("state", {}).get(CERTIFICATE)
    if not certificate:
        return None
    names = [value for part in certificate["subject"] for key, value in part if key == "commonName"]
    return names[0] if len(names) == 1 else None


def vouched(principals: Principals, name: str, *, method: Method, address: str | None) -> Principal:
    """The active principal of this name, as they come.

    Raises:
        AccessDeniedError: If there is none.
    """
    principal = principals.get(name)
    if principal is None or not principal.active:
        raise AccessDeniedError(
            "You are known to who vouches for you, but not here", "Ask an administrator to add you."
        )
    channel: Channel = "web" if principal.kind == "user" else "api"
    return replace(principal, circumstances=Circumstances(channel, method, address=address))


def _require_long(secret: Secret) -> Secret:
    """The secret without the end of its line."""
    word = replace(secret, value=secret.line.strip().encode())
    if len(word.value) < _SHORTEST_SECRET:
        raise UsageError(
            "The proxy's secret is too short", f"Use {_SHORTEST_SECRET} random characters or more."
        )
    return word
