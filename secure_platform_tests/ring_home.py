"""A key ring and the log that witnesses its keys, in one folder, as `Services` opens them."""

from pathlib import Path

from secure_platform.audit.log import AuditLog, LateLog
from secure_platform.control.database import ControlDatabase
from secure_platform.keys.providers.local import LocalKeyProvider
from secure_platform.keys.ring import KeyRing

ORIGIN = "secure-platform/test"


def open_ring(root: Path, database: ControlDatabase, *, origin: str = ORIGIN) -> tuple[KeyRing, AuditLog]:
    late = LateLog(root / "audit.db", lambda: audit)
    keys = KeyRing(LocalKeyProvider.open(root / "keys"), database, late)
    audit = AuditLog(root / "audit.db", origin=origin, signer=keys.log_signer(origin), identify=keys.identify)
    return keys, audit


def create_ring(root: Path, database: ControlDatabase, *, origin: str = ORIGIN) -> tuple[KeyRing, AuditLog]:
    LocalKeyProvider.create(root / "keys")
    keys, audit = open_ring(root, database, origin=origin)
    keys.initialise()
    return keys, audit
