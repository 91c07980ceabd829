"""A real Ed25519 key and a log over it; run as a program it appends, printing each acknowledged entry."""

import hashlib
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from secure_platform.audit.checkpoint import NoteKey
from secure_platform.audit.log import AuditLog

ORIGIN = "example.org/audit"
NAME = f"secure-platform/{ORIGIN}"


class SoftwareSigner:
    def __init__(self, seed: bytes = b"\x01" * 32, name: str = NAME) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    @property
    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    @property
    def readable_keys(self) -> Sequence[bytes]:
        return (self.public_key,)

    @property
    def own_keys(self) -> Sequence[bytes]:
        return (self.public_key,)

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


KEY = NoteKey(NAME, SoftwareSigner().public_key)


def identify(identifier: str) -> str:
    return f"p:{hashlib.sha256(b'test' + identifier.encode()).hexdigest()[:32]}"


def open_log(path: Path, signer: SoftwareSigner | None = None, origin: str = ORIGIN) -> AuditLog:
    return AuditLog(path, origin=origin, signer=signer or SoftwareSigner(), identify=identify)


def fill(log: AuditLog, count: int) -> None:
    for number in range(count):
        log.append("snapshot.write", actor="alice", subject="healthcare/raw/patients", detail={"n": number})


def execute(path: Path, *statements: str) -> None:
    """Tamper with the file as somebody who owns it could."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def main(path: Path, writer: str, count: int) -> None:
    log = open_log(path)
    for number in range(count):
        entry = log.append("test.append", actor=writer, subject=writer, detail={"n": number})
        sys.stdout.write(f"{entry.seq} {entry.leaf.hex()}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
