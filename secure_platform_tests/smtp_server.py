"""A small real mail server (RFC 5321) with STARTTLS or TLS from the beginning, for one message at a time."""

import base64
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Mailbox:
    """What arrived: the commands of the session, whether it was encrypted, and the messages."""

    port: int
    commands: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)


@contextmanager
def mail_server(tls: ssl.SSLContext, *, implicit: bool = False, starttls: bool = True) -> Iterator[Mailbox]:
    """Serve on loopback.

    Args:
        tls: Its certificate.
        implicit: TLS before the first word.
        starttls: Whether it offers STARTTLS otherwise.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    mailbox = Mailbox(listener.getsockname()[1])

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with suppress(OSError, ssl.SSLError):
                    if implicit:
                        connection = tls.wrap_socket(connection, server_side=True)
                    with closing(
                        _Session(connection, mailbox, tls if starttls and not implicit else None)
                    ) as one:
                        one.run()
                connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield mailbox
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


class _Session:
    def __init__(self, connection: socket.socket, mailbox: Mailbox, tls: ssl.SSLContext | None) -> None:
        self._connection = connection
        self._mailbox = mailbox
        self._tls = tls
        self._file = connection.makefile("rb")

    def run(self) -> None:
        self._say("220 here")
        while line := self._file.readline().decode().rstrip("\r\n"):
            self._mailbox.commands.append(line)
            word = line.partition(" ")[0].upper()
            if word == "EHLO":
                self._say("250-here", "250-AUTH PLAIN", "250 STARTTLS" if self._tls else "250 8BITMIME")
            elif word == "STARTTLS" and self._tls:
                self._say("220 go on")
                self._file.close()
                self._connection = self._tls.wrap_socket(self._connection, server_side=True)
                self._file, self._tls = self._connection.makefile("rb"), None
            elif word == "AUTH":
                self._mailbox.logins.append(base64.b64decode(line.split()[2]).decode())
                self._say("235 welcome")
            elif word == "DATA":
                self._say("354 go on")
                self._take()
                self._say("250 taken")
            else:
                self._say("221 bye" if word == "QUIT" else "250 fine")

    def close(self) -> None:
        self._file.close()
        self._connection.close()

    def _take(self) -> None:
        lines = []
        while (line := self._file.readline().decode()) != ".\r\n":
            lines.append(line)
        self._mailbox.messages.append("".join(lines))
        self._mailbox.encrypted.append(isinstance(self._connection, ssl.SSLSocket))

    def _say(self, *lines: str) -> None:
        self._connection.sendall("".join(f"{line}\r\n" for line in lines).encode())
