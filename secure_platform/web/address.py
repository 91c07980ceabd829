"""Where people reach this server: whatever names another place did not mean it.

Behind a proxy that the settings trust, the proxy says who is calling and how; from anybody else such headers
mean nothing.
"""

from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Final, Self
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

from secure_platform.errors import UsageError
from secure_platform.site import ServerSettings

PORTS: Final = {"http": 80, "https": 443}
LOOPBACK: Final = ("127.0.0.1", "localhost")
PEER: Final = "secure_platform.peer"
FORWARDED: Final = (
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "forwarded",
)


@dataclass(frozen=True)
class SiteAddress:
    """The names under which this server answers.

    Attributes:
        hosts: Values of the Host header, lower case, e.g. `127.0.0.1:3000`.
        origins: Values of the Origin header, e.g. `http://127.0.0.1:3000`.
        prefix: What every path begins with, without the slash at its end.
        secure: Whether browsers come over TLS.
        url: What people open.
        is_local: Whether only this machine reaches it.
    """

    hosts: frozenset[str]
    origins: frozenset[str]
    prefix: str
    secure: bool
    url: str
    is_local: bool

    @classmethod
    def of(cls, server: ServerSettings, port: int) -> Self:
        """The address of a server that listens on this port.

        Raises:
            UsageError: If the settings name no address that browsers could use, or one without protection.
        """
        scheme = "https" if server.tls else "http"
        named = urlsplit(server.url or f"{scheme}://{_bracketed(server.host)}:{port}")
        if named.scheme not in PORTS or not named.hostname or named.query or named.fragment or named.username:
            raise UsageError(
                f"server.url {server.url!r} is not an address", "Write https://<name>[/<prefix>]."
            )
        _require_protection(server, named.scheme)
        hosts = {_host(named.scheme, named.hostname, named.port)}
        origins = {f"{named.scheme}://{host}" for host in hosts}
        local = _is_loopback(server.host)
        if local:
            names = {_host(scheme, name, port) for name in LOOPBACK}
            hosts |= names
            origins |= {f"{scheme}://{host}" for host in names}
        prefix = named.path.rstrip("/")
        url = f"{named.scheme}://{_host(named.scheme, named.hostname, named.port)}{prefix}"
        return cls(frozenset(hosts), frozenset(origins), prefix, named.scheme == "https", url, local)


class Forwarded:
    """Takes over what a trusted proxy says about the caller, and puts the request below the prefix.

    Args:
        app: Everything else.
        proxies: Addresses of the proxies, as CIDR.
        prefix: What every path begins with.
    """

    def __init__(self, app: ASGIApp, proxies: tuple[str, ...], prefix: str) -> None:
        self._app = app
        self._proxies = [ip_network(each) for each in proxies]
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Go on as who the proxy says."""
        if scope["type"] in {"http", "websocket"}:
            scope = dict(scope) | {PEER: scope.get("client")}
            headers = Headers(scope=scope)
            trusted = self._trusts(scope["client"][0] if scope.get("client") else "")
            if trusted and "x-forwarded-for" in headers:
                scope["client"] = (self._caller(headers), 0)
            scope["headers"] = [
                pair for pair in scope["headers"] if pair[0].decode("latin-1") not in FORWARDED
            ]
            if trusted and "x-forwarded-host" in headers:
                MutableHeaders(scope=scope)["host"] = headers["x-forwarded-host"]
            scope["root_path"] = self._prefix
        await self._app(scope, receive, send)

    def _trusts(self, address: str) -> bool:
        try:
            caller = ip_address(address)
        except ValueError:
            return False
        return any(caller in network for network in self._proxies)

    def _caller(self, headers: Headers) -> str:
        """The last address that no proxy of ours has: what stands before it, anybody can have written."""
        said = [each.strip() for value in headers.getlist("x-forwarded-for") for each in value.split(",")]
        return next((each for each in reversed(said) if not self._trusts(each)), said[0])


def _require_protection(server: ServerSettings, scheme: str) -> None:
    if server.tls is None and server.proxy is None and not (_is_loopback(server.host) and scheme == "http"):
        raise UsageError(
            f"The server would speak plain HTTP on {server.host} as {scheme}",
            "Give it a certificate (server.tls), or name the proxy in front of it (server.proxy).",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _host(scheme: str, name: str, port: int | None) -> str:
    shown = _bracketed(name.lower())
    return shown if port in {None, PORTS[scheme]} else f"{shown}:{port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
