"""No outgoing call reaches what it must not, however its name, address or answer is disguised."""

import socket
import threading
import time
from contextlib import suppress
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from loopback_servers import certificates, http_server, raw_server
from notify_support import NOTICE, SECRETS, channel

from secure_platform.errors import UsageError
from secure_platform.notify import guard
from secure_platform.notify.channels import send
from secure_platform.notify.guard import UndeliveredError, addresses, destination, judge
from secure_platform.notify.post import PORTS, post

NEVER = (
    *("169.254.169.254", "0.0.0.0", "224.0.0.1", "100.100.100.200"),  # noqa: S104 - judged, not bound
    *("168.63.129.16", "192.0.0.192", "fe80::1", "::", "ff02::1", "fd00:ec2::254"),
    *("::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1"),
)
PRIVATE = (
    *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "198.18.0.1", "240.0.0.1"),
    *("::1", "fc00::1", "2001:db8::1", "64:ff9b:1::1", "2001::1", "3fff::1", "5f00::1"),
    *("::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"),
)
PUBLIC = ("93.184.215.14", "2606:2800:21f:cb07::1", "64:ff9b::5db8:d70e", "::ffff:93.184.215.14")
BAD_URLS = (
    *("ftp://example.org/", "file:///etc/passwd", "//example.org", "https://", "https:///path"),
    *("https://user:secret@example.org/", "https://example.org/#fragment", "https://example.org:99999/"),
    *("https://example.org/a b", "https://example.org\\@evil.example/", "https://exämple.org/"),
    *("https://example.org/\r\nHost: evil.example", "gopher://127.0.0.1:25/", "", "https://[::1"),
)


@pytest.mark.parametrize("text", NEVER)
def test_some_addresses_are_never_reached_whatever_is_allowed(text: str) -> None:
    everything = (ip_network("0.0.0.0/0"), ip_network("::/0"))
    with pytest.raises(UndeliveredError, match="must not be reached"):
        judge(ip_address(text), everything, host="name")


@pytest.mark.parametrize("text", PRIVATE)
def test_what_is_not_public_is_reached_only_where_it_is_allowed(text: str) -> None:
    with pytest.raises(UndeliveredError, match="must not be reached"):
        judge(ip_address(text), (), host="name")
    everything = (ip_network("0.0.0.0/0"), ip_network("::/0"))
    judge(ip_address(text), everything, host="name")


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_reached(text: str) -> None:
    judge(ip_address(text), (), host="name")


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_url_that_could_be_read_in_two_ways_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="not a plain"):
        destination(url, PORTS)


@pytest.mark.parametrize("host", ["127.1", "127.0.1", "localhost"])
def test_disguises_of_loopback_are_judged_by_where_they_lead(host: str) -> None:
    with pytest.raises(UndeliveredError, match="must not be reached"):
        addresses(destination(f"https://{host}/", PORTS), ())


def test_one_refused_address_of_a_name_refuses_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    _resolve_to(monkeypatch, ["93.184.215.14", "10.0.0.1"])
    with pytest.raises(UndeliveredError, match="must not be reached"):
        addresses(destination("https://mixed.example/", PORTS), ())


def test_a_name_that_is_rebound_after_the_look_leads_nowhere_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The resolver says loopback first and the metadata service after: the one connection is to the first."""
    asked = _resolve_to(monkeypatch, ["127.0.0.1"], ["169.254.169.254"])
    with http_server() as inbox:
        port = inbox.url.rpartition(":")[2]
        send(
            channel(tmp_path, "webhook", f"http://rebound.example:{port}", secret="whsec_" + "A" * 44),
            NOTICE,
            SECRETS,
        )
    assert asked == ["rebound.example"]
    assert len(inbox.received) == 1


def test_without_tls_only_this_machine_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    _resolve_to(monkeypatch, ["93.184.215.14"])
    with pytest.raises(UndeliveredError, match="without TLS"):
        addresses(destination("http://example.org/", PORTS), ())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(status: int, tmp_path: Path) -> None:
    with (
        http_server() as victim,
        http_server(status, headers={"Location": victim.url}) as hostile,
        pytest.raises(UndeliveredError, match=f"answered {status}; redirects are not followed"),
    ):
        send(channel(tmp_path, "slack", hostile.url), NOTICE, SECRETS)
    assert victim.received == []


def test_proxies_of_the_environment_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with http_server() as proxy, http_server() as inbox:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        send(channel(tmp_path, "slack", inbox.url), NOTICE, SECRETS)
    assert (len(proxy.received), len(inbox.received)) == (0, 1)


def test_an_answer_is_not_read_however_long_it_is(tmp_path: Path) -> None:
    sent = 0

    def flood(connection: socket.socket) -> None:
        nonlocal sent
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while sent < 1 << 30:
            sent += connection.send(b"x" * 65_536)

    with raw_server(flood) as url:
        send(channel(tmp_path, "slack", url), NOTICE, SECRETS)
    assert sent < 1 << 26


@pytest.mark.parametrize(
    "answer", [b"", b"\x00\xff" * 100, b"220 mail\r\n", b"HTTP/1.1 200 OK\r\n" + b"a" * 70_000]
)
def test_what_is_no_http_is_a_clear_refusal(answer: bytes, tmp_path: Path) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)
        # A connection that is closed with a part of the request unread is reset.
        while connection.recv(65_536):
            pass

    with raw_server(talk) as url, pytest.raises(UndeliveredError, match="did not answer in HTTP"):
        send(channel(tmp_path, "slack", url), NOTICE, SECRETS)


def test_a_server_that_drips_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step is in time; only the whole is not."""
    monkeypatch.setattr(guard, "TOTAL_SECONDS", 0.5)
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        with suppress(OSError):
            while not over.is_set():
                connection.sendall(b"x")
                time.sleep(0.02)

    with raw_server(drip) as url:
        with pytest.raises(UndeliveredError, match="did not answer in time"):
            send(channel(tmp_path, "slack", url), NOTICE, SECRETS)
        over.set()


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    made = certificates(tmp_path)
    with http_server(tls=made.context()) as inbox:
        with pytest.raises(UndeliveredError, match="certificate of localhost"):
            send(channel(tmp_path, "slack", inbox.url), NOTICE, SECRETS)
        assert inbox.received == []
        send(channel(tmp_path, "slack", inbox.url, ca=made.ca), NOTICE, SECRETS)
    assert len(inbox.received) == 1


def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    made = certificates(tmp_path, host="other.example")
    with http_server(tls=made.context()) as inbox, pytest.raises(UndeliveredError, match="certificate"):
        send(channel(tmp_path, "slack", inbox.url, ca=made.ca), NOTICE, SECRETS)


def test_an_error_does_not_repeat_the_secret_in_a_url(tmp_path: Path) -> None:
    with http_server(500) as inbox, pytest.raises(UndeliveredError) as refusal:
        post(channel(tmp_path, "slack", inbox.url), f"{inbox.url}/T0/B0/hidden", b"{}", {})
    assert "hidden" not in str(refusal.value)


def _resolve_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Each look-up gets the next answer, the last one from then on; the names that were asked."""
    asked: list[str] = []

    def answer(host: str, port: int, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        if host[0].isdigit():
            return list(real(host, port, type=socket.SOCK_STREAM))
        asked.append(host)
        chosen = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in chosen]

    real: Any = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return asked
