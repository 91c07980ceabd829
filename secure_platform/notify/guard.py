"""An outgoing call reaches a public address, or a private network that its channel names, and nothing else.

A name is resolved once and every address of it is judged; the connection goes to one that was judged,
so a name that is rebound afterwards changes nothing. Private, link-local, multicast and unspecified addresses
and those of metadata services hide in IPv4-mapped, NAT64 and 6to4 ones too: an address is judged by the
one inside it. TLS is verified; without TLS only loopback is reached, and only where the channel names it.
Proxies of the environment are not used, and a call that does not end is cut off.
"""

import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from secure_platform.errors import SecurePlatformError, UsageError

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

STEP_SECONDS: Final = 10.0
TOTAL_SECONDS: Final = 30.0
_PLAIN: Final = "http"
_NAT64: Final = ip_network("64:ff9b::/96")
# Metadata services that are neither link-local nor, all of them, private.
_METADATA: Final = tuple(
    map(ip_address, ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"))
)
# Not public, whatever the interpreter's own list says: local NAT64, Teredo, documentation, segment routing.
_SPECIAL: Final = tuple(
    map(
        ip_network, ("64:ff9b:1::/48", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "192.0.0.0/24")
    )
)
_FIX: Final = "Correct the channel's url, or name its private network under `allow`; see docs/notices.md."


class UndeliveredError(SecurePlatformError):
    """A notice did not reach its channel; nothing secret is said about why."""


class SecretRefusedError(UndeliveredError):
    """The channel does not know the secret, or not any more."""


class RejectedError(UndeliveredError):
    """The receiver does not take this document, and will not take it the next time."""


@dataclass(frozen=True)
class Destination:
    """Where a URL leads to.

    Attributes:
        target: Path and query.
    """

    scheme: str
    host: str
    port: int
    target: str


def destination(url: str, ports: dict[str, int]) -> Destination:
    """Read a URL strictly.

    Args:
        url: The URL.
        ports: The schemes that are allowed, with their usual ports.

    Raises:
        UsageError: If it has another scheme, credentials, a fragment, or what is not printable ASCII.
    """
    allowed = " or ".join(f"{scheme}://" for scheme in ports)
    refused = UsageError(f"A channel's url is not a plain {allowed} URL", _FIX)
    if not url.isascii() or not url.isprintable() or set(url) & set(' \\"<>'):
        raise refused
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise refused from None
    if parts.scheme not in ports or not parts.hostname or "@" in parts.netloc or parts.fragment:
        raise refused
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Destination(parts.scheme, parts.hostname, port or ports[parts.scheme], target)


@contextmanager
def connected(
    place: Destination, allow: Sequence[Network], *, tls: ssl.SSLContext | None
) -> Iterator[socket.socket]:
    """A connection to a judged address of the place, cut off after `TOTAL_SECONDS`.

    Args:
        place: Where to.
        allow: Private networks that may be reached.
        tls: Verifies the other side; None for a protocol that begins TLS itself.

    Raises:
        UndeliveredError: If an address is refused, or the connection fails.
    """
    with (
        _explained(place),
        closing(_connect(place, addresses(place, allow))) as plain,
        _cut_off_in_time(plain),
        closing(tls.wrap_socket(plain, server_hostname=place.host) if tls else plain) as ready,
    ):
        yield ready


def addresses(place: Destination, allow: Sequence[Network]) -> list[Address]:
    """Every address of the place, if all of them may be reached.

    Raises:
        UndeliveredError: If one may not, or there is none.
    """
    found = _resolve(place)
    for address in found:
        judge(address, allow, host=place.host)
    if place.scheme == _PLAIN and not all(_inner(address).is_loopback for address in found):
        raise UndeliveredError(f"{place.host} is not on this machine and would be reached without TLS", _FIX)
    return found


def judge(address: Address, allow: Sequence[Network], *, host: str) -> None:
    """Refuse an address that is not public, unless its network is allowed; some are refused in any case.

    Raises:
        UndeliveredError: Naming the host, not the address: what a name leads to inside is nobody's business.
    """
    inner = _inner(address)
    never = inner.is_link_local or inner.is_multicast or inner.is_unspecified or inner in _METADATA
    named = any(inner in network for network in allow if network.version == inner.version)
    if never or not (named or _is_public(inner)):
        raise UndeliveredError(f"{host} leads to an address that must not be reached", _FIX)


def trust(ca: Path | None) -> ssl.SSLContext:
    """Verifies the other side by the system's certificate authorities and those in a file.

    Raises:
        UsageError: If the file holds none.
    """
    context = ssl.create_default_context()
    if ca is not None:
        try:
            context.load_verify_locations(cafile=ca)
        except (OSError, ssl.SSLError):
            raise UsageError(
                f"{ca} holds no certificate authority", "Name a PEM file under the channel's `ca`."
            ) from None
    return context


def _is_public(address: Address) -> bool:
    special = any(address in network for network in _SPECIAL if network.version == address.version)
    return address.is_global and not (special or address.is_reserved or address.is_private)


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, else itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _resolve(place: Destination) -> list[Address]:
    with suppress(ValueError):
        return [ip_address(place.host)]
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise UndeliveredError(
            f"{place.host} cannot be resolved", "Check its name and the resolver."
        ) from None
    return [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def _connect(place: Destination, judged: Sequence[Address]) -> socket.socket:
    error: OSError | None = None
    for address in judged:
        try:
            return socket.create_connection((str(address), place.port), timeout=STEP_SECONDS)
        except OSError as problem:
            error = problem
    raise error or OSError


@contextmanager
def _cut_off_in_time(connection: socket.socket) -> Iterator[None]:
    late = threading.Event()

    def cut_off() -> None:
        late.set()
        with suppress(OSError):
            copy.shutdown(socket.SHUT_RDWR)

    # A copy of the descriptor ends the connection whatever TLS is doing with it.
    with closing(connection.dup()) as copy:
        timer = threading.Timer(TOTAL_SECONDS, cut_off)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
    # What was understood of half an answer does not count.
    if late.is_set():
        raise TimeoutError


@contextmanager
def _explained(place: Destination) -> Iterator[None]:
    """What can go wrong on the way, without what the other side says."""
    where = f"{place.host}:{place.port}"
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        fix = "Renew it, or name who signed it under the channel's `ca`."
        raise UndeliveredError(
            f"The certificate of {where} is refused: {error.verify_message}", fix
        ) from None
    except TimeoutError:
        raise UndeliveredError(f"{where} did not answer in time", "Look at it; it is tried again.") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UndeliveredError(
            f"{where} cannot be reached: {reason}", "Look at it; it is tried again."
        ) from None
